{{ config(meta={'dagster': {'ref': {'name': 'fct_sales_accepted_opportunities'}}}) }}

with

totals as (
    select
        (select count(*) from {{ ref('fct_sales_accepted_opportunities') }}) as in_all,
        (
            select coalesce(sum(sales_accepted_opportunity_count), 0)
            from {{ ref('agg_sales_accepted_opportunities_weekly') }}
        ) as by_week,
        (
            select coalesce(sum(sales_accepted_opportunity_count), 0)
            from {{ ref('agg_sales_accepted_opportunities_monthly') }}
        ) as by_month
)

select *
from totals
where in_all <> by_week or in_all <> by_month
