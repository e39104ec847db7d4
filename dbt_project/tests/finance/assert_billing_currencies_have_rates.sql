{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'fct_recurring_revenue_monthly'}}},
    )
}}
-- Recurring revenue in these currencies is missing in the reporting currency.
select
    currency_code,
    count(*) as row_count
from {{ ref('fct_recurring_revenue_monthly') }}
where arr_reporting is null
group by currency_code
