with

source as (
    select * from {{ raw_table('marketo', 'lists') }}
),

final as (
    select
        id as list_id,
        {{ clean_text('name') }} as list_name,
        {{ clean_text('description') }} as list_description,
        {{ clean_text('program_name') }} as program_name,
        {{ clean_text('workspace_name') }} as workspace_name,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
