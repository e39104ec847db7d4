with

exchange_rates as (
    select * from {{ ref('exchange_rates') }}
),

ranged as (
    select
        currency_code,
        valid_from,
        lead(valid_from, 1, 'infinity'::date) over (
            partition by currency_code order by valid_from
        ) as valid_before,
        rate_to_usd
    from exchange_rates
),

-- Rates to the reporting currency change whenever one of the two does.
converted as (
    select
        ranged.currency_code,
        greatest(ranged.valid_from, reporting.valid_from) as valid_from,
        least(ranged.valid_before, reporting.valid_before) as valid_before,
        ranged.rate_to_usd / nullif(reporting.rate_to_usd, 0) as rate_to_reporting
    from ranged
    inner join ranged as reporting
        on
            reporting.currency_code = '{{ var("reporting_currency") }}'
            and ranged.valid_from < reporting.valid_before
            and reporting.valid_from < ranged.valid_before
    where ranged.currency_code <> '{{ var("reporting_currency") }}'
),

-- What is in the reporting currency already needs no rate, not even one of its day.
final as (
    select
        currency_code,
        valid_from,
        valid_before,
        rate_to_reporting
    from converted

    union all

    select
        '{{ var("reporting_currency") }}' as currency_code,
        '-infinity'::date as valid_from,
        'infinity'::date as valid_before,
        1::numeric as rate_to_reporting
)

select * from final
