with

opportunities as (
    select * from {{ ref('fct_sales_accepted_opportunities') }}
),

source_groups as (
    select source_group
    from {{ ref('source_groups') }}

    union

    select 'Other' as source_group
),

bounds as (
    select
        min(sales_accepted_week) as first_week,
        max(sales_accepted_week) as last_week
    from opportunities
),

-- Every group has a row for every week, so that an empty one shows as zero.
periods as (
    select
        source_groups.source_group,
        period.period::date as week_start_date
    from bounds
    cross join
        lateral generate_series(bounds.first_week, bounds.last_week, interval '1 week') as period (period)
    cross join source_groups
),

counted as (
    select
        source_group,
        sales_accepted_week,
        count(*) as sales_accepted_opportunity_count,
        count(*) filter (where is_won) as won_opportunity_count,
        sum(total_contract_value_reporting) as total_contract_value_reporting,
        sum(incremental_acv_reporting) as incremental_acv_reporting
    from opportunities
    group by source_group, sales_accepted_week
),

final as (
    select
        periods.source_group || ' ' || periods.week_start_date as source_group_week_id,
        periods.source_group,
        periods.week_start_date,
        coalesce(
            counted.sales_accepted_opportunity_count, 0
        ) as sales_accepted_opportunity_count,
        coalesce(counted.won_opportunity_count, 0) as won_opportunity_count,
        counted.total_contract_value_reporting,
        counted.incremental_acv_reporting
    from periods
    left join counted
        on
            periods.source_group = counted.source_group
            and periods.week_start_date = counted.sales_accepted_week
)

select * from final
