with

retention as (
    select * from {{ ref('fct_retention_monthly') }}
),

final as (
    select
        retention_level || ' ' || month_start_date as retention_month_id,
        retention_level,
        month_start_date,
        count(*) as entity_count,
        count(*) filter (where retention_type = 'Cancellation') as cancellation_count,
        count(*) filter (where retention_type = 'Downgrade') as downgrade_count,
        count(*) filter (where retention_type = 'Upgrade') as upgrade_count,
        count(*) filter (where retention_type = 'Retention') as retention_count,
        count(*) filter (where retention_type is null) as unknown_count,
        sum(year_ago_arr_reporting) filter (
            where retention_type is not null
        ) as year_ago_arr_reporting,
        sum(present_arr_reporting) filter (
            where retention_type is not null
        ) as present_arr_reporting,
        coalesce(
            sum(-change_reporting) filter (where retention_type = 'Cancellation'), 0
        ) as cancelled_arr_reporting,
        coalesce(
            sum(-change_reporting) filter (where retention_type = 'Downgrade'), 0
        ) as downgraded_arr_reporting,
        coalesce(
            sum(change_reporting) filter (where retention_type = 'Upgrade'), 0
        ) as upgraded_arr_reporting,
        {{ ratio(
            'sum(present_arr_reporting) filter (where retention_type is not null)',
            'sum(year_ago_arr_reporting) filter (where retention_type is not null)'
        ) }} as net_retention,
        {{ ratio(
            'sum(least(present_arr_reporting, year_ago_arr_reporting)) filter '
            ~ '(where retention_type is not null)',
            'sum(year_ago_arr_reporting) filter (where retention_type is not null)'
        ) }} as gross_retention,
        {{ ratio(
            "count(*) filter (where retention_type = 'Cancellation')",
            'count(*) filter (where retention_type is not null)'
        ) }} as yearly_churn
    from retention
    group by retention_level, month_start_date
)

select * from final
