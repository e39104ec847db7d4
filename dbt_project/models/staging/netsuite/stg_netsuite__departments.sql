with

source as (
    select * from {{ raw_table('netsuite', 'departments') }}
),

final as (
    select
        internal_id as department_id,
        {{ clean_text('external_id') }} as external_id,
        parent_id,
        {{ clean_text('name') }} as department_name,
        {{ clean_text('parent_name') }} as parent_name,
        is_inactive,
        include_children,
        subsidiary_list,
        custom_field_list,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
