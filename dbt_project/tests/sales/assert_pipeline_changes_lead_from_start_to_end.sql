{{ config(meta={'dagster': {'ref': {'name': 'agg_pipeline_changes_monthly'}}}) }}
-- All movements together explain how the pipeline of a month came to its end.
select
    month_start_date,
    sum(incremental_acv_reporting) filter (where change_type <> 'Ending') as explained,
    coalesce(
        sum(incremental_acv_reporting) filter (where change_type = 'Ending'), 0
    ) as ending
from {{ ref('agg_pipeline_changes_monthly') }}
group by month_start_date
having
    abs(
        coalesce(sum(incremental_acv_reporting) filter (where change_type <> 'Ending'), 0)
        - coalesce(sum(incremental_acv_reporting) filter (where change_type = 'Ending'), 0)
    ) > 0.01
