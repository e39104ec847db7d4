{{ config(meta={'dagster': {'ref': {'name': 'fct_opportunity_attributions'}}}) }}
-- For each of the four models and every SAO.
with

shares as (
    select
        opportunity_id,
        count(distinct attribution_model) as model_count,
        sum(share) as share
    from {{ ref('fct_opportunity_attributions') }}
    group by opportunity_id
)

select
    opportunities.opportunity_id,
    shares.model_count,
    shares.share
from {{ ref('fct_sales_accepted_opportunities') }} as opportunities
left join shares
    on opportunities.opportunity_id = shares.opportunity_id
where shares.model_count is distinct from 4 or abs(shares.share - 4) > 0.000001
