with

retention as (
    select * from {{ ref('agg_retention_monthly') }}
    where retention_level = 'account'
),

renewals as (
    select * from {{ ref('int_renewals__churned') }}
),

-- Billing knows who stopped to pay; without it the renewals that sales lost stand in.
final as (
    select
        coalesce(retention.month_start_date, renewals.month_start_date) as month_start_date,
        case
            when retention.month_start_date is not null then 'subscriptions' else 'renewals'
        end as churn_source,
        case
            when retention.month_start_date is not null
                then retention.entity_count - retention.unknown_count
            else renewals.renewal_count
        end as customer_count,
        case
            when retention.month_start_date is not null then retention.cancellation_count
            else renewals.lost_renewal_count
        end as lost_customer_count,
        case
            when retention.month_start_date is not null then retention.yearly_churn
            else renewals.yearly_churn
        end as yearly_churn
    from renewals
    full outer join retention
        on renewals.month_start_date = retention.month_start_date
)

select * from final
