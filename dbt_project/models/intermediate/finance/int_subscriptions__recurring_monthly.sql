{{ config(indexes=[{'columns': ['month_start_date']}, {'columns': ['subscription_name']}]) }}

with

charges as (
    select * from {{ ref('int_subscriptions__charged') }}
),

rooted as (
    select * from {{ ref('int_accounts__rooted') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

today as (
    {{ today_of(ref('stg_zuora__subscriptions'), 'updated_at') }}
),

bounds as (
    select
        date_trunc('month', min(charges.effective_start_date)) as first_month,
        today.today
    from charges
    cross join today
    group by today.today
),

-- The end of each month, and today for the month that is not over.
months as (
    select
        month.month::date as month_start_date,
        least((month.month + interval '1 month - 1 day')::date, bounds.today) as as_of_date
    from bounds
    cross join
        lateral generate_series(
            bounds.first_month, bounds.today, interval '1 month'
        ) as month (month)
),

recurring as (
    select
        months.month_start_date,
        months.as_of_date,
        charges.subscription_name,
        charges.subscription_id,
        charges.billing_account_id,
        charges.account_id,
        charges.currency_code,
        sum(charges.mrr) as mrr,
        sum(charges.quantity) filter (where charges.mrr > 0) as quantity
    from months
    inner join charges
        on
            months.as_of_date >= charges.effective_start_date
            and months.as_of_date < charges.effective_before_date
    where charges.mrr <> 0
    -- The column that tells most apart first: the sort compares no other then.
    group by
        charges.subscription_id,
        months.month_start_date,
        months.as_of_date,
        charges.subscription_name,
        charges.billing_account_id,
        charges.account_id,
        charges.currency_code
),

final as (
    select
        recurring.subscription_name || ' ' || recurring.month_start_date as subscription_month_id,
        recurring.month_start_date,
        recurring.as_of_date,
        recurring.subscription_name,
        recurring.subscription_id,
        recurring.billing_account_id,
        recurring.account_id,
        coalesce(rooted.ultimate_parent_account_id, recurring.account_id)
            as ultimate_parent_account_id,
        recurring.currency_code,
        recurring.quantity,
        recurring.mrr,
        recurring.mrr * 12 as arr,
        rates.rate_to_reporting,
        recurring.mrr * rates.rate_to_reporting as mrr_reporting,
        recurring.mrr * 12 * rates.rate_to_reporting as arr_reporting
    from recurring
    left join rooted
        on recurring.account_id = rooted.account_id
    left join rates
        on {{ is_rate_of('recurring.currency_code', 'recurring.as_of_date') }}
)

select * from final
