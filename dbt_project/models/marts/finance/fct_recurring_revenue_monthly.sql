with

recurring as (
    select * from {{ ref('int_subscriptions__recurring_monthly') }}
),

final as (
    select
        subscription_month_id,
        subscription_id,
        subscription_name,
        billing_account_id,
        account_id,
        ultimate_parent_account_id,
        month_start_date,
        as_of_date,
        currency_code,
        quantity,
        mrr,
        arr,
        mrr_reporting,
        arr_reporting
    from recurring
)

select * from final
