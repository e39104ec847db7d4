with

campaign_months as (
    select * from {{ ref('agg_campaign_acquisition_monthly') }}
),

estimates as (
    select * from {{ ref('agg_estimated_iacv_monthly') }}
),

opportunities as (
    select * from {{ ref('fct_opportunities') }}
),

churned as (
    select * from {{ ref('agg_churn_monthly') }}
),

margins as (
    select
        valid_from,
        lead(valid_from, 1, 'infinity'::date) over (order by valid_from) as valid_before,
        gross_margin
    from {{ ref('gross_margins') }}
),

spent as (
    select
        month_start_date,
        sum(spend) as spend,
        sum(lead_count)::bigint as lead_count
    from campaign_months
    group by month_start_date
),

accepted as (
    select
        sales_accepted_month as month_start_date,
        sum(sales_accepted_opportunity_count)::bigint as sales_accepted_opportunity_count,
        sum(won_iacv_within_median) as won_iacv_within_median,
        sum(estimated_iacv) as estimated_iacv
    from estimates
    group by sales_accepted_month
),

-- A customer is won once: with the first opportunity that its account closes.
first_wins as (
    select distinct on (account_id)
        account_id,
        date_trunc('month', close_date)::date as month_start_date,
        incremental_acv_reporting
    from opportunities
    where is_won and account_id is not null and close_date is not null
    order by account_id, close_date, opportunity_id
),

won as (
    select
        month_start_date,
        count(*) as customers_won_count,
        sum(incremental_acv_reporting) as customers_won_iacv
    from first_wins
    group by month_start_date
),

keys as (
    select month_start_date
    from spent

    union

    select month_start_date
    from accepted

    union

    select month_start_date
    from won
),

joined as (
    select
        keys.month_start_date,
        coalesce(spent.spend, 0) as spend,
        -- Where nothing is known to have been spent, a cost is unknown and not zero.
        nullif(spent.spend, 0) as known_spend,
        coalesce(spent.lead_count, 0) as lead_count,
        coalesce(
            accepted.sales_accepted_opportunity_count, 0
        ) as sales_accepted_opportunity_count,
        coalesce(won.customers_won_count, 0) as customers_won_count,
        won.customers_won_iacv,
        accepted.won_iacv_within_median,
        accepted.estimated_iacv,
        margins.gross_margin,
        churned.yearly_churn
    from keys
    left join spent
        on keys.month_start_date = spent.month_start_date
    left join accepted
        on keys.month_start_date = accepted.month_start_date
    left join won
        on keys.month_start_date = won.month_start_date
    left join churned
        on keys.month_start_date = churned.month_start_date
    left join margins
        on
            keys.month_start_date >= margins.valid_from
            and keys.month_start_date < margins.valid_before
),

measured as (
    select
        month_start_date,
        spend,
        lead_count,
        sales_accepted_opportunity_count,
        customers_won_count,
        customers_won_iacv,
        won_iacv_within_median,
        estimated_iacv,
        gross_margin,
        yearly_churn,
        {{ ratio('known_spend', 'lead_count') }} as cost_per_lead,
        {{ ratio('known_spend', 'sales_accepted_opportunity_count') }}
            as cost_per_sales_accepted_opportunity,
        {{ ratio('lead_count', 'customers_won_count') }} as leads_per_customer,
        -- Cost per lead times leads per customer: the leads fall out, unless there were none.
        case
            when lead_count > 0 then {{ ratio('known_spend', 'customers_won_count') }}
        end as customer_acquisition_cost,
        {{ ratio('estimated_iacv', 'sales_accepted_opportunity_count') }}
            as estimated_iacv_per_sales_accepted_opportunity,
        {{ ratio('estimated_iacv', 'known_spend') }} as estimated_iacv_to_marketing,
        -- The average customer stays one year by the share that leaves in a year.
        {{ ratio('customers_won_iacv * gross_margin', 'customers_won_count * yearly_churn') }}
            as lifetime_value,
        -- What an SAO will be worth: its estimated IACV, as long as a customer stays.
        {{ ratio(
            'estimated_iacv * gross_margin', 'sales_accepted_opportunity_count * yearly_churn'
        ) }} as lifetime_value_per_sales_accepted_opportunity
    from joined
),

final as (
    select
        month_start_date,
        spend,
        lead_count,
        sales_accepted_opportunity_count,
        customers_won_count,
        customers_won_iacv,
        won_iacv_within_median,
        estimated_iacv,
        gross_margin,
        yearly_churn,
        cost_per_lead,
        cost_per_sales_accepted_opportunity,
        leads_per_customer,
        customer_acquisition_cost,
        estimated_iacv_per_sales_accepted_opportunity,
        estimated_iacv_to_marketing,
        lifetime_value,
        lifetime_value_per_sales_accepted_opportunity,
        {{ ratio('lifetime_value', 'customer_acquisition_cost') }} as return_on_investment
    from measured
)

select * from final
