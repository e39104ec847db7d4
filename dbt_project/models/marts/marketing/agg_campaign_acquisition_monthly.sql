with

-- Leads and opportunities of no campaign stay in the table, so that it adds up.
spent as (
    select
        campaign_id || ' ' || month_start_date as campaign_month_id,
        campaign_id,
        month_start_date,
        spend
    from {{ ref('fct_marketing_spend') }}
),

leads as (
    select
        coalesce(campaign_id, 'none') || ' ' || created_month as campaign_month_id,
        campaign_id,
        created_month as month_start_date,
        count(*) as lead_count
    from {{ ref('fct_leads') }}
    where created_month is not null
    group by campaign_id, created_month
),

attributed as (
    select
        coalesce(campaign_id, 'none') || ' ' || sales_accepted_month as campaign_month_id,
        campaign_id,
        sales_accepted_month as month_start_date,
        sum(share) as sales_accepted_opportunity_share,
        sum(share) filter (where is_won) as won_opportunity_share,
        sum(incremental_acv_reporting) filter (where is_won) as won_incremental_acv_reporting
    from {{ ref('fct_opportunity_attributions') }}
    where attribution_model = '{{ var("attribution_model") }}'
    group by campaign_id, sales_accepted_month
),

keys as (
    select
        campaign_month_id,
        campaign_id,
        month_start_date
    from spent

    union

    select
        campaign_month_id,
        campaign_id,
        month_start_date
    from leads

    union

    select
        campaign_month_id,
        campaign_id,
        month_start_date
    from attributed
),

final as (
    select
        keys.campaign_month_id,
        keys.campaign_id,
        keys.month_start_date,
        coalesce(spent.spend, 0) as spend,
        coalesce(leads.lead_count, 0) as lead_count,
        coalesce(
            attributed.sales_accepted_opportunity_share, 0
        ) as sales_accepted_opportunity_share,
        coalesce(attributed.won_opportunity_share, 0) as won_opportunity_share,
        attributed.won_incremental_acv_reporting,
        {{ ratio('nullif(spent.spend, 0)', 'leads.lead_count') }} as cost_per_lead,
        {{ ratio('nullif(spent.spend, 0)', 'attributed.sales_accepted_opportunity_share') }}
            as cost_per_sales_accepted_opportunity
    from keys
    left join spent
        on keys.campaign_month_id = spent.campaign_month_id
    left join leads
        on keys.campaign_month_id = leads.campaign_month_id
    left join attributed
        on keys.campaign_month_id = attributed.campaign_month_id
)

select * from final
