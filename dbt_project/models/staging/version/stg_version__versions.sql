with

source as (
    select * from {{ raw_table('version', 'versions') }}
),

final as (
    select
        id as version_id,
        {{ clean_text('version') }} as version,
        vulnerable as is_vulnerable,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
