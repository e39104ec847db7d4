with

source as (
    select * from {{ raw_table('zuora', 'rate_plans') }}
),

final as (
    select
        {{ clean_text('id') }} as rate_plan_id,
        {{ clean_text('subscription_id') }} as subscription_id,
        {{ clean_text('product_id') }} as product_id,
        {{ clean_text('product_rate_plan_id') }} as product_rate_plan_id,
        {{ clean_text('amendment_id') }} as amendment_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as rate_plan_name,
        {{ clean_text('amendment_type') }} as amendment_type,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
