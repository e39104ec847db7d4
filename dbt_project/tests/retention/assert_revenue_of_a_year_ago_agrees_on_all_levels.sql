{{ config(meta={'dagster': {'ref': {'name': 'agg_retention_monthly'}}}) }}
-- What was paid a year ago is the same money, whoever it is added up for.
select
    month_start_date,
    min(year_ago_arr_reporting) as least,
    max(year_ago_arr_reporting) as greatest
from {{ ref('agg_retention_monthly') }}
where unknown_count = 0
group by month_start_date
having max(year_ago_arr_reporting) - min(year_ago_arr_reporting) > 0.01
