with

recurring as (
    select * from {{ ref('fct_recurring_revenue_monthly') }}
),

by_account as (
    select
        month_start_date,
        currency_code,
        billing_account_id,
        count(*) as subscription_count,
        sum(arr) as arr,
        sum(arr_reporting) as arr_reporting
    from recurring
    group by month_start_date, currency_code, billing_account_id
),

final as (
    select
        month_start_date || ' ' || currency_code as currency_month_id,
        month_start_date,
        currency_code,
        count(*) as account_count,
        sum(subscription_count)::bigint as subscription_count,
        -- Above what a customer is worth: the four steps of the board's report.
        count(*) filter (where arr_reporting > 0) as account_over_0_count,
        count(*) filter (where arr_reporting > 5000) as account_over_5k_count,
        count(*) filter (where arr_reporting > 50000) as account_over_50k_count,
        count(*) filter (where arr_reporting > 100000) as account_over_100k_count,
        sum(arr) / 12 as mrr,
        sum(arr) as arr,
        sum(arr_reporting) / 12 as mrr_reporting,
        sum(arr_reporting) as arr_reporting
    from by_account
    group by month_start_date, currency_code
)

select * from final
