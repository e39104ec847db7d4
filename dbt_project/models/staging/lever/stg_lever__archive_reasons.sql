with

source as (
    select * from {{ raw_table('lever', 'archive_reasons') }}
),

final as (
    select
        {{ clean_text('id') }} as archive_reason_id,
        {{ clean_text('text') }} as text,
        {{ clean_text('status') }} as archive_reason_status,
        {{ clean_text('type') }} as archive_reason_type,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
