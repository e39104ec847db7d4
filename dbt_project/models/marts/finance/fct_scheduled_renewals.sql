with

subscriptions as (
    select * from {{ ref('int_subscriptions__current') }}
    where subscription_status = 'Active' and not is_excluded_from_renewals
),

charges as (
    select * from {{ ref('int_subscriptions__charged') }}
    where mrr <> 0
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

-- What is up for renewal is what is still paid on the last day of the term.
at_the_end as (
    select
        subscriptions.subscription_id,
        sum(charges.mrr) as mrr
    from subscriptions
    inner join charges
        on
            subscriptions.subscription_name = charges.subscription_name
            and subscriptions.term_end_date - 1 >= charges.effective_start_date
            and subscriptions.term_end_date - 1 < charges.effective_before_date
    group by subscriptions.subscription_id
),

final as (
    select
        subscriptions.subscription_id,
        subscriptions.subscription_name,
        subscriptions.billing_account_id,
        subscriptions.account_id,
        subscriptions.billing_account_name,
        subscriptions.currency_code,
        subscriptions.is_auto_renew,
        subscriptions.initial_term,
        subscriptions.renewal_term,
        at_the_end.mrr * 12 as arr,
        at_the_end.mrr * 12 * rates.rate_to_reporting as arr_reporting,
        subscriptions.term_end_date as renewal_date,
        date_trunc('month', subscriptions.term_end_date)::date as renewal_month
    from subscriptions
    inner join at_the_end
        on subscriptions.subscription_id = at_the_end.subscription_id
    -- Renewals lie ahead: the latest known rate holds.
    left join rates
        on {{ is_rate_of('subscriptions.currency_code', 'subscriptions.term_end_date') }}
)

select * from final
