{{ config(indexes=[{'columns': ['subscription_name']}]) }}

with

subscriptions as (
    select * from {{ ref('int_subscriptions__current') }}
),

rate_plans as (
    select * from {{ ref('stg_zuora__rate_plans') }}
    where not is_deleted
),

charges as (
    select * from {{ ref('stg_zuora__rate_plan_charges') }}
    where not is_deleted
),

-- Charges end on the day before their end date; a missing end means until further notice.
final as (
    select
        charges.rate_plan_charge_id,
        subscriptions.subscription_id,
        subscriptions.subscription_name,
        subscriptions.billing_account_id,
        subscriptions.account_id,
        subscriptions.currency_code,
        rate_plans.rate_plan_name,
        charges.charge_type,
        coalesce(rate_plans.rate_plan_name ilike '%trueup%', false) as is_trueup,
        coalesce(charges.is_last_segment, false) as is_last_segment,
        coalesce(charges.mrr, 0) as mrr,
        coalesce(charges.tcv, 0) as total_contract_value,
        charges.quantity,
        charges.effective_start_date,
        coalesce(charges.effective_end_date, 'infinity'::date) as effective_before_date
    from charges
    inner join rate_plans
        on charges.rate_plan_id = rate_plans.rate_plan_id
    inner join subscriptions
        on rate_plans.subscription_id = subscriptions.subscription_id
    where charges.effective_start_date is not null
)

select * from final
