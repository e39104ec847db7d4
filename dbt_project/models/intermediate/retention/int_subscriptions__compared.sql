{#- For each month's end: what was paid then and what was paid a year before, by subscription. -#}
with

recurring as (
    select * from {{ ref('int_subscriptions__recurring_monthly') }}
),

charges as (
    select * from {{ ref('int_subscriptions__charged') }}
    where is_trueup
),

subscriptions as (
    select * from {{ ref('int_subscriptions__current') }}
),

rooted as (
    select * from {{ ref('int_accounts__rooted') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

months as (
    select distinct
        month_start_date,
        as_of_date
    from recurring
),

-- Only who paid something a year ago can be retained.
a_year_ago as (
    select
        months.month_start_date,
        months.as_of_date,
        recurring.subscription_name,
        recurring.arr
    from months
    inner join recurring
        on (months.month_start_date - interval '1 year')::date = recurring.month_start_date
),

-- Seats used beyond the contract are billed after the fact, for the year that has passed.
trueups as (
    select
        months.month_start_date,
        charges.subscription_name,
        sum(charges.total_contract_value) filter (
            where charges.effective_start_date > months.as_of_date - interval '1 year'
        ) as present_trueup,
        sum(charges.total_contract_value) filter (
            where charges.effective_start_date <= months.as_of_date - interval '1 year'
        ) as year_ago_trueup
    from months
    inner join charges
        on
            charges.effective_start_date <= months.as_of_date
            and charges.effective_start_date > months.as_of_date - interval '2 years'
    group by months.month_start_date, charges.subscription_name
),

compared as (
    select
        a_year_ago.month_start_date,
        a_year_ago.as_of_date,
        a_year_ago.subscription_name,
        a_year_ago.arr + coalesce(trueups.year_ago_trueup, 0) as year_ago_arr,
        coalesce(recurring.arr, 0) + coalesce(
            case when recurring.arr is not null then trueups.present_trueup end, 0
        ) as present_arr
    from a_year_ago
    left join recurring
        on
            a_year_ago.subscription_name = recurring.subscription_name
            and a_year_ago.month_start_date = recurring.month_start_date
    left join trueups
        on
            a_year_ago.subscription_name = trueups.subscription_name
            and a_year_ago.month_start_date = trueups.month_start_date
),

-- Both sides at the rate of the month's end: a currency that moves is no customer that leaves.
final as (
    select
        compared.subscription_name || ' ' || compared.month_start_date as subscription_month_id,
        compared.month_start_date,
        compared.as_of_date,
        compared.subscription_name,
        subscriptions.billing_account_id,
        subscriptions.account_id,
        coalesce(
            rooted.ultimate_parent_account_id, subscriptions.account_id
        ) as ultimate_parent_account_id,
        subscriptions.currency_code,
        compared.year_ago_arr * rates.rate_to_reporting as year_ago_arr_reporting,
        compared.present_arr * rates.rate_to_reporting as present_arr_reporting
    from compared
    inner join subscriptions
        on compared.subscription_name = subscriptions.subscription_name
    left join rooted
        on subscriptions.account_id = rooted.account_id
    left join rates
        on {{ is_rate_of('subscriptions.currency_code', 'compared.as_of_date') }}
)

select * from final
