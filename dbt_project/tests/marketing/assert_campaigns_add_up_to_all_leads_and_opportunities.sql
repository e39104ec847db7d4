{{ config(meta={'dagster': {'ref': {'name': 'agg_campaign_acquisition'}}}) }}

with

totals as (
    select
        (select coalesce(sum(lead_count), 0) from {{ ref('agg_campaign_acquisition') }}) as leads,
        (select count(*) from {{ ref('fct_leads') }} where created_month is not null) as all_leads,
        (
            select coalesce(sum(sales_accepted_opportunity_share), 0)
            from {{ ref('agg_campaign_acquisition') }}
        ) as opportunities,
        (select count(*) from {{ ref('fct_sales_accepted_opportunities') }}) as all_opportunities
)

select *
from totals
where leads <> all_leads or abs(opportunities - all_opportunities) > 0.01
