{{ config(meta={'dagster': {'ref': {'name': 'fct_opportunity_line_items'}}}) }}
-- Every opportunity has line items, and their amounts are its own: nothing shared out is lost.
{%- set amounts = ['total_contract_value', 'incremental_acv', 'acv', 'incremental_acv_reporting'] %}
with

line_items as (
    select
        opportunity_id,
        {%- for amount in amounts %}
        sum({{ amount }}) as {{ amount }},
        {%- endfor %}
        sum(share) as share
    from {{ ref('fct_opportunity_line_items') }}
    group by opportunity_id
)

select
    opportunities.opportunity_id,
    line_items.share
from {{ ref('fct_opportunities') }} as opportunities
full outer join line_items
    on opportunities.opportunity_id = line_items.opportunity_id
where
    opportunities.opportunity_id is null
    or line_items.opportunity_id is null
    or abs(line_items.share - 1) > 0.0001
    {%- for amount in amounts %}
    or opportunities.{{ amount }} is distinct from line_items.{{ amount }}
    {%- endfor %}
