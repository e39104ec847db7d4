with

opportunities as (
    select * from {{ ref('fct_sales_accepted_opportunities') }}
),

changes as (
    select * from {{ ref('stg_salesforce__opportunities') }}
),

today as (
    {{ today_of('changes', 'system_modified_at') }}
),

won as (
    select
        opportunity_id,
        -- Accepted after it was won: it took no time.
        greatest(close_date - sales_accepted_date, 0) as days_to_won
    from opportunities
    where is_won and close_date is not null
),

median as (
    select percentile_cont(0.5) within group (order by days_to_won) as median_days_to_won
    from won
),

cohorts as (
    select
        opportunities.source_group,
        opportunities.sales_accepted_month,
        count(*) as sales_accepted_opportunity_count,
        count(*) filter (where opportunities.is_won) as won_opportunity_count,
        sum(opportunities.incremental_acv_reporting) filter (
            where opportunities.is_won
        ) as won_iacv,
        coalesce(
            sum(opportunities.incremental_acv_reporting) filter (
                where won.days_to_won <= median.median_days_to_won
            ),
            0
        ) as won_iacv_within_median
    from opportunities
    cross join median
    left join won
        on opportunities.opportunity_id = won.opportunity_id
    group by opportunities.source_group, opportunities.sales_accepted_month
),

-- A cohort may be judged once its last day has had the median time.
judged as (
    select
        cohorts.source_group,
        cohorts.sales_accepted_month,
        cohorts.sales_accepted_opportunity_count,
        cohorts.won_opportunity_count,
        cohorts.won_iacv,
        cohorts.won_iacv_within_median,
        median.median_days_to_won,
        coalesce(
            cohorts.sales_accepted_month
            + interval '1 month - 1 day'
            + median.median_days_to_won * interval '1 day'
            <= today.today,
            false
        ) as is_mature
    from cohorts
    cross join median
    cross join today
),

final as (
    select
        source_group || ' ' || sales_accepted_month as source_group_month_id,
        source_group,
        sales_accepted_month,
        sales_accepted_opportunity_count,
        won_opportunity_count,
        median_days_to_won::numeric as median_days_to_won,
        is_mature,
        won_iacv,
        won_iacv_within_median,
        case when is_mature then 2 * won_iacv_within_median end as estimated_iacv,
        case
            when is_mature
                then {{ ratio('2 * won_iacv_within_median', 'sales_accepted_opportunity_count') }}
        end as estimated_iacv_per_sales_accepted_opportunity
    from judged
)

select * from final
