with

source as (
    select * from {{ raw_table('zuora', 'products') }}
),

final as (
    select
        {{ clean_text('id') }} as product_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as product_name,
        {{ clean_text('sku') }} as sku,
        {{ clean_text('category') }} as product_category,
        {{ clean_text('description') }} as product_description,
        {{ clean_text('allow_feature_changes') }} as allow_feature_changes,
        effective_start_date,
        effective_end_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
