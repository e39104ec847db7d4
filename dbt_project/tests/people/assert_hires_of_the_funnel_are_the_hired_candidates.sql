{{ config(meta={'dagster': {'ref': {'name': 'agg_hiring_funnel_monthly'}}}) }}

with

totals as (
    select
        (
            select coalesce(sum(candidate_count), 0)
            from {{ ref('agg_hiring_funnel_monthly') }}
            where step_name = 'Hired'
        ) as in_funnel,
        (
            select count(*)
            from {{ ref('fct_candidates') }}
            where is_hired and created_date is not null
        ) as hired
)

select *
from totals
where in_funnel <> hired
