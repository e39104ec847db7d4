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
    select
        account_id,
        date_trunc('month', min(close_date))::date as month_start_date
    from opportunities
    where is_won and account_id is not null and close_date is not null
    group by account_id
),

won as (
    select
        month_start_date,
        count(*) as customers_won_count
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
        accepted.won_iacv_within_median,
        accepted.estimated_iacv
    from keys
    left join spent
        on keys.month_start_date = spent.month_start_date
    left join accepted
        on keys.month_start_date = accepted.month_start_date
    left join won
        on keys.month_start_date = won.month_start_date
),

final as (
    select
        month_start_date,
        spend,
        lead_count,
        sales_accepted_opportunity_count,
        customers_won_count,
        won_iacv_within_median,
        estimated_iacv,
        {{ ratio('known_spend', 'lead_count') }} as cost_per_lead,
        {{ ratio('known_spend', 'sales_accepted_opportunity_count') }}
            as cost_per_sales_accepted_opportunity,
        {{ ratio('lead_count', 'customers_won_count') }} as leads_per_customer,
        -- Cost per lead times leads per customer: the leads fall out, unless there were none.
        case
            when lead_count > 0 then {{ ratio('known_spend', 'customers_won_count') }}
        end as customer_acquisition_cost,
        {{ ratio('estimated_iacv', 'known_spend') }} as estimated_iacv_to_marketing
    from joined
)

select * from final
