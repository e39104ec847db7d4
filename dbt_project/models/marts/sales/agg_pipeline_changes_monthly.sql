-- depends_on: {{ ref('fct_opportunity_snapshots') }}
with

snapshots as (
    select * from {{ ref('fct_opportunity_snapshots') }}
),

dates as (
    select * from {{ ref('dim_dates') }}
),

bounds as (
    select
        date_trunc('month', min(valid_from_at at time zone 'UTC'))::date as first_month,
        date_trunc('month', max(valid_from_at at time zone 'UTC'))::date as last_month
    from snapshots
),

-- Each month is held against the deals that were to close in its fiscal quarter.
months as (
    select
        dates.month_start_date,
        min(dates.date_day) as first_day,
        max(dates.date_day) as last_day,
        min(dates.fiscal_quarter_start_date) as quarter_start_date,
        min(dates.fiscal_quarter_end_date) as quarter_end_date
    from dates
    inner join bounds
        on dates.month_start_date between bounds.first_month and bounds.last_month
    group by dates.month_start_date
),

changes as (
    select
        months.month_start_date,
        months.quarter_start_date,
        change.change_type,
        change.change_order,
        change.opportunity_id,
        change.incremental_acv_reporting,
        change.total_contract_value_reporting
    from months
    cross join
        lateral {{ target.schema }}.pipeline_change(
            months.first_day - 1,
            months.last_day,
            months.quarter_start_date,
            months.quarter_end_date
        ) as change
),

final as (
    select
        month_start_date || ' ' || change_type as pipeline_change_id,
        month_start_date,
        quarter_start_date as close_quarter_start_date,
        change_type,
        change_order,
        count(*) as opportunity_count,
        sum(incremental_acv_reporting) as incremental_acv_reporting,
        sum(total_contract_value_reporting) as total_contract_value_reporting
    from changes
    group by month_start_date, quarter_start_date, change_type, change_order
)

select * from final
