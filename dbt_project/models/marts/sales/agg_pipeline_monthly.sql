with

opportunities as (
    select
        date_trunc('month', close_date)::date as close_month,
        stage_name,
        pipeline_state,
        owner_id,
        opportunity_type,
        incremental_acv_reporting,
        weighted_incremental_acv_reporting
    from {{ ref('fct_opportunities') }}
    where stage_state = 'Open'
),

final as (
    select
        concat_ws(
            ' ',
            coalesce(close_month::text, 'none'),
            coalesce(stage_name, 'none'),
            coalesce(owner_id, 'none'),
            coalesce(opportunity_type, 'none')
        ) as pipeline_id,
        close_month,
        stage_name,
        pipeline_state,
        owner_id,
        opportunity_type,
        count(*) as opportunity_count,
        sum(incremental_acv_reporting) as incremental_acv_reporting,
        sum(weighted_incremental_acv_reporting) as weighted_incremental_acv_reporting
    from opportunities
    group by close_month, stage_name, pipeline_state, owner_id, opportunity_type
)

select * from final
