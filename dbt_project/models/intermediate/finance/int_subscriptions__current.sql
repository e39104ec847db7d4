with

subscriptions as (
    select * from {{ ref('stg_zuora__subscriptions') }}
),

accounts as (
    select * from {{ ref('stg_zuora__accounts') }}
),

-- Each amendment makes a new version; the latest one carries the whole history of its charges.
latest as (
    select distinct on (coalesce(subscription_name, subscription_id))
        subscription_id,
        coalesce(subscription_name, subscription_id) as subscription_name,
        account_id,
        opportunity_id,
        subscription_status,
        auto_renew,
        version,
        initial_term,
        renewal_term,
        term_start_date,
        term_end_date,
        subscription_start_date,
        subscription_end_date,
        cancelled_date,
        excluded_from_renewal_report,
        created_at,
        updated_at
    from subscriptions
    where
        not is_deleted
        and coalesce(is_excluded_from_analysis, false) is false
        and subscription_status is distinct from 'Draft'
        and subscription_status is distinct from 'Expired'
    order by
        coalesce(subscription_name, subscription_id),
        version desc nulls last,
        updated_at desc nulls last,
        subscription_id
),

final as (
    select
        latest.subscription_id,
        latest.subscription_name,
        latest.account_id as billing_account_id,
        accounts.account_name as billing_account_name,
        {{ salesforce_id18('accounts.crm_id') }} as account_id,
        {{ salesforce_id18('latest.opportunity_id') }} as opportunity_id,
        latest.subscription_status,
        coalesce(accounts.currency, '{{ var("reporting_currency") }}') as currency_code,
        coalesce(latest.auto_renew, false) as is_auto_renew,
        coalesce(lower(latest.excluded_from_renewal_report) in ('yes', 'true'), false)
            as is_excluded_from_renewals,
        latest.version,
        latest.initial_term,
        latest.renewal_term,
        latest.term_start_date,
        latest.term_end_date,
        latest.subscription_start_date,
        latest.subscription_end_date,
        latest.cancelled_date,
        latest.created_at,
        latest.updated_at
    from latest
    left join accounts
        on latest.account_id = accounts.account_id
)

select * from final
