with

monthly as (
    select * from {{ ref('agg_campaign_acquisition_monthly') }}
),

campaigns as (
    select * from {{ ref('dim_campaigns') }}
),

totals as (
    select
        campaign_id,
        sum(spend) as spend,
        sum(lead_count)::bigint as lead_count,
        sum(sales_accepted_opportunity_share) as sales_accepted_opportunity_share,
        sum(won_opportunity_share) as won_opportunity_share,
        sum(won_incremental_acv_reporting) as won_incremental_acv_reporting,
        min(month_start_date) as first_month,
        max(month_start_date) as last_month
    from monthly
    group by campaign_id
),

final as (
    select
        coalesce(totals.campaign_id, 'none') as campaign_acquisition_id,
        totals.campaign_id,
        campaigns.campaign_name,
        campaigns.campaign_type,
        campaigns.parent_campaign_name,
        totals.spend,
        totals.lead_count,
        totals.sales_accepted_opportunity_share,
        totals.won_opportunity_share,
        totals.won_incremental_acv_reporting,
        {{ ratio('nullif(totals.spend, 0)', 'totals.lead_count') }} as cost_per_lead,
        {{ ratio('nullif(totals.spend, 0)', 'totals.sales_accepted_opportunity_share') }}
            as cost_per_sales_accepted_opportunity,
        totals.first_month,
        totals.last_month
    from totals
    left join campaigns
        on totals.campaign_id = campaigns.campaign_id
)

select * from final
