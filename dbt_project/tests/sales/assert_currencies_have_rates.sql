{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'fct_opportunities'}}},
    )
}}
-- Amounts of these opportunities are missing in the reporting currency.
select
    currency_code,
    count(*) as opportunity_count
from {{ ref('fct_opportunities') }}
where
    coalesce(total_contract_value, incremental_acv, acv) is not null
    and coalesce(
        total_contract_value_reporting, incremental_acv_reporting, acv_reporting
    ) is null
group by currency_code
