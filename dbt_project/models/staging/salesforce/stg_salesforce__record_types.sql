with

source as (
    select * from {{ raw_table('salesforce', 'record_types') }}
),

final as (
    select
        {{ clean_text('id') }} as record_type_id,
        {{ clean_text('business_process_id') }} as business_process_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as record_type_name,
        {{ clean_text('developer_name') }} as developer_name,
        {{ clean_text('namespace_prefix') }} as namespace_prefix,
        {{ clean_text('description') }} as record_type_description,
        {{ clean_text('sobject_type') }} as sobject_type,
        is_active,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
