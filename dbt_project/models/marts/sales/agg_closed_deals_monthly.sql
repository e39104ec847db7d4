with

opportunities as (
    select
        date_trunc('month', close_date)::date as close_month,
        source_group,
        sales_segment,
        opportunity_type,
        stage_state,
        incremental_acv_reporting
    from {{ ref('fct_opportunities') }}
    where stage_state in ('Won', 'Lost') and close_date is not null
),

counted as (
    select
        close_month,
        source_group,
        sales_segment,
        opportunity_type,
        count(*) filter (where stage_state = 'Won') as won_count,
        count(*) filter (where stage_state = 'Lost') as lost_count,
        sum(incremental_acv_reporting) filter (
            where stage_state = 'Won'
        ) as won_incremental_acv_reporting,
        sum(incremental_acv_reporting) filter (
            where stage_state = 'Lost'
        ) as lost_incremental_acv_reporting
    from opportunities
    group by close_month, source_group, sales_segment, opportunity_type
),

final as (
    select
        concat_ws(
            ' ', close_month, source_group, sales_segment, coalesce(opportunity_type, 'none')
        ) as closed_deals_id,
        close_month,
        source_group,
        sales_segment,
        opportunity_type,
        won_count,
        lost_count,
        won_incremental_acv_reporting,
        lost_incremental_acv_reporting,
        {{ ratio('won_count', 'won_count + lost_count') }} as win_rate
    from counted
)

select * from final
