with

subscriptions as (
    select * from {{ ref('int_subscriptions__current') }}
),

recurring as (
    select * from {{ ref('int_subscriptions__recurring_monthly') }}
),

bounds as (
    select max(as_of_date) as as_of_date
    from recurring
),

present as (
    select
        recurring.subscription_name,
        recurring.quantity,
        recurring.mrr,
        recurring.arr,
        recurring.arr_reporting
    from recurring
    inner join bounds
        on recurring.as_of_date = bounds.as_of_date
),

final as (
    select
        subscriptions.subscription_id,
        subscriptions.subscription_name,
        subscriptions.billing_account_id,
        subscriptions.account_id,
        subscriptions.opportunity_id,
        subscriptions.billing_account_name,
        subscriptions.subscription_status,
        subscriptions.currency_code,
        subscriptions.is_auto_renew,
        present.subscription_name is not null as is_recurring_now,
        subscriptions.version,
        subscriptions.initial_term,
        subscriptions.renewal_term,
        coalesce(present.quantity, 0) as quantity,
        coalesce(present.mrr, 0) as mrr,
        coalesce(present.arr, 0) as arr,
        -- Nothing is worth nothing in every currency; something without a rate is unknown.
        case
            when present.subscription_name is null then 0 else present.arr_reporting
        end as arr_reporting,
        subscriptions.term_start_date,
        subscriptions.term_end_date,
        subscriptions.subscription_start_date,
        subscriptions.subscription_end_date,
        subscriptions.cancelled_date,
        subscriptions.created_at
    from subscriptions
    left join present
        on subscriptions.subscription_name = present.subscription_name
)

select * from final
