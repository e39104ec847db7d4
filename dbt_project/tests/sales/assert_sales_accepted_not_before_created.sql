{{
    config(
        severity='warn',
        warn_if='> 100',
        meta={'dagster': {'ref': {'name': 'fct_sales_accepted_opportunities'}}},
    )
}}
-- A few dates are typed in late; many mean that the field is used for something else.
select opportunity_id
from {{ ref('fct_sales_accepted_opportunities') }}
where sales_accepted_date < (created_at at time zone 'UTC')::date
