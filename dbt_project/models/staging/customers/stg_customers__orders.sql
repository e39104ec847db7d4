with

source as (
    select * from {{ raw_table('customers', 'orders') }}
),

final as (
    select
        id as order_id,
        customer_id,
        {{ clean_text('product_rate_plan_id') }} as product_rate_plan_id,
        {{ clean_text('subscription_id') }} as subscription_id,
        {{ clean_text('subscription_name') }} as subscription_name,
        quantity,
        start_date,
        end_date,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
