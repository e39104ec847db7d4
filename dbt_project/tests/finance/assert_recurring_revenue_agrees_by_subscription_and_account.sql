{{ config(meta={'dagster': {'ref': {'name': 'agg_recurring_revenue_monthly'}}}) }}

with

by_subscription as (
    select
        month_start_date,
        sum(arr) as arr
    from {{ ref('fct_recurring_revenue_monthly') }}
    group by month_start_date
),

by_account as (
    select
        month_start_date,
        sum(arr) as arr
    from {{ ref('agg_recurring_revenue_monthly') }}
    group by month_start_date
)

select
    month_start_date,
    by_subscription.arr as by_subscription,
    by_account.arr as by_account
from by_subscription
full outer join by_account using (month_start_date)
where by_subscription.arr is distinct from by_account.arr
