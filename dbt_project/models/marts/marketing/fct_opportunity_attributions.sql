with

attributed as (
    select * from {{ ref('int_opportunities__attributed') }}
),

opportunities as (
    select * from {{ ref('int_opportunities__sales_accepted') }}
),

final as (
    select
        attributed.opportunity_id
        || ' ' || attributed.attribution_model
        || ' ' || coalesce(attributed.campaign_id, 'none') as opportunity_attribution_id,
        attributed.opportunity_id,
        attributed.campaign_id,
        attributed.attribution_model,
        opportunities.source_group,
        opportunities.is_won,
        attributed.share,
        opportunities.incremental_acv_reporting * attributed.share as incremental_acv_reporting,
        opportunities.sales_accepted_date,
        date_trunc('month', opportunities.sales_accepted_date)::date as sales_accepted_month
    from attributed
    inner join opportunities
        on attributed.opportunity_id = opportunities.opportunity_id
)

select * from final
