with

opportunities as (
    select * from {{ ref('int_opportunities__classified') }}
),

accepted as (
    select opportunity_id
    from {{ ref('int_opportunities__sales_accepted') }}
),

final as (
    select
        opportunities.opportunity_id,
        opportunities.account_id,
        opportunities.campaign_id,
        opportunities.owner_id,
        opportunities.opportunity_name,
        opportunities.stage_name,
        opportunities.mapped_stage,
        opportunities.stage_state,
        opportunities.pipeline_state,
        opportunities.opportunity_type,
        opportunities.lead_source,
        opportunities.lead_source_type,
        opportunities.sales_qualified_source,
        opportunities.source_group,
        opportunities.sales_segment,
        opportunities.reason_for_loss,
        opportunities.currency_code,
        opportunities.is_closed,
        opportunities.is_won,
        accepted.opportunity_id is not null as is_sales_accepted,
        opportunities.probability_percent,
        opportunities.total_contract_value,
        opportunities.incremental_acv,
        opportunities.acv,
        opportunities.total_contract_value_reporting,
        opportunities.incremental_acv_reporting,
        opportunities.acv_reporting,
        opportunities.incremental_acv_reporting
        * opportunities.probability_percent / 100 as weighted_incremental_acv_reporting,
        opportunities.close_date,
        opportunities.sales_accepted_date,
        opportunities.sales_qualified_date,
        opportunities.created_at
    from opportunities
    left join accepted
        on opportunities.opportunity_id = accepted.opportunity_id
    where not opportunities.is_deleted
)

select * from final
