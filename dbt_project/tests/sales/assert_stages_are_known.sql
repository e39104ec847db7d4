{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'fct_opportunities'}}},
    )
}}
-- A stage that the seed opportunity_stages does not list counts as an open, unmapped one.
select
    stage_name,
    count(*) as opportunity_count
from {{ ref('fct_opportunities') }}
where mapped_stage = 'Unmapped'
group by stage_name
