{{ config(meta={'dagster': {'ref': {'name': 'fct_metrics'}}}) }}
-- Whoever adds up months divides again, so the two parts have to be those of the value.
select
    metric_value_id,
    value,
    numerator,
    denominator
from {{ ref('fct_metrics') }}
where
    denominator is not null
    and (
        (value is not null and (numerator is null or denominator = 0))
        or abs(value - numerator / nullif(denominator, 0)) > greatest(0.001, abs(value) / 1000)
    )
