{{ config(meta={'dagster': {'ref': {'name': 'fct_marketing_spend'}}}) }}

with

spent as (
    select
        campaign_id,
        sum(spend) as spend
    from {{ ref('fct_marketing_spend') }}
    group by campaign_id
)

select
    campaigns.campaign_id,
    campaigns.actual_cost,
    spent.spend
from {{ ref('dim_campaigns') }} as campaigns
left join spent
    on campaigns.campaign_id = spent.campaign_id
where
    not campaigns.is_deleted
    and abs(coalesce(campaigns.actual_cost, 0) - coalesce(spent.spend, 0)) > 0.01
