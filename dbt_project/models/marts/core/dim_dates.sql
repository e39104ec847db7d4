with

days as (
    select day::date as date_day
    from generate_series('2010-01-01'::date, '2039-12-31'::date, interval '1 day') as day
),

fiscal as (
    select
        first_day,
        lead(first_day, 1, 'infinity'::date) over (order by first_day) as next_first_day,
        fiscal_year,
        fiscal_quarter
    from {{ ref('fiscal_calendar') }}
),

final as (
    select
        date_day,
        to_char(date_day, 'YYYYMMDD')::integer as date_number,
        extract(isodow from date_day)::integer as day_of_week_iso,
        to_char(date_day, 'FMDay') as day_name,
        extract(week from date_day)::integer as week_of_year_iso,
        extract(isoyear from date_day)::integer as year_iso,
        date_trunc('week', date_day)::date as week_start_date,
        extract(month from date_day)::integer as month_of_year,
        to_char(date_day, 'FMMonth') as month_name,
        date_trunc('month', date_day)::date as month_start_date,
        extract(quarter from date_day)::integer as quarter_of_year,
        date_trunc('quarter', date_day)::date as quarter_start_date,
        extract(year from date_day)::integer as year_number,
        extract(isodow from date_day) >= 6 as is_weekend,
        fiscal.fiscal_year,
        fiscal.fiscal_quarter,
        fiscal.first_day as fiscal_quarter_start_date,
        fiscal.next_first_day - 1 as fiscal_quarter_end_date
    from days
    left join fiscal
        on days.date_day >= fiscal.first_day and days.date_day < fiscal.next_first_day
)

select * from final
