{{ config(meta={'dagster': {'ref': {'name': 'agg_retention_monthly'}}}) }}
-- What was paid a year ago is the same money, whoever it is added up for; save where a subscription gives back, which
-- its sisters make up for on the levels above and nobody on its own.
select
    month_start_date,
    min(year_ago_arr_reporting) as least,
    max(year_ago_arr_reporting) as greatest
from {{ ref('agg_retention_monthly') }} as retention
where
    unknown_count = 0
    and not exists (
        select from {{ ref('int_subscriptions__compared') }} as compared
        where
            compared.month_start_date = retention.month_start_date
            and compared.year_ago_arr_reporting < 0
    )
group by month_start_date
having max(year_ago_arr_reporting) - min(year_ago_arr_reporting) > 0.01
