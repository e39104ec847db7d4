with

source as (
    select * from {{ raw_table('netsuite', 'deleted_records') }}
),

final as (
    select
        {{ clean_text('record_type') }} as record_type,
        internal_id,
        {{ clean_text('external_id') }} as external_id,
        {{ clean_text('type_id') }} as type_id,
        {{ clean_text('script_id') }} as script_id,
        {{ clean_text('name') }} as deleted_record_name,
        deleted_date as deleted_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
