{{ config(meta={'dagster': {'ref': {'name': 'exchange_rates'}}}) }}
-- Of two rates of a day nobody could say which one holds; at one of zero money would vanish.
select
    currency_code,
    valid_from,
    count(*) as rate_count,
    min(rate_to_usd) as least_rate
from {{ ref('exchange_rates') }}
group by currency_code, valid_from
having count(*) > 1 or min(rate_to_usd) <= 0
