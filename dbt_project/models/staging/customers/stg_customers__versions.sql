with

source as (
    select * from {{ raw_table('customers', 'versions') }}
),

final as (
    select
        id as version_id,
        item_id,
        transaction_id,
        {{ clean_text('item_type') }} as item_type,
        {{ clean_text('event') }} as event,
        created_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
