with

opportunities as (
    select * from {{ ref('stg_salesforce__opportunities') }}
),

stages as (
    select * from {{ ref('opportunity_stages') }}
),

source_groups as (
    select * from {{ ref('source_groups') }}
),

lead_source_types as (
    select * from {{ ref('lead_source_types') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

final as (
    select
        opportunities.opportunity_id,
        opportunities.account_id,
        opportunities.campaign_id,
        opportunities.owner_id,
        opportunities.opportunity_name,
        opportunities.stage_name,
        coalesce(stages.mapped_stage, 'Unmapped') as mapped_stage,
        coalesce(stages.pipeline_state, 'Unmapped') as pipeline_state,
        coalesce(
            stages.stage_state,
            case
                when opportunities.is_won then 'Won'
                when opportunities.is_closed then 'Lost'
                else 'Open'
            end
        ) as stage_state,
        stages.stage_order,
        -- An unknown stage is no reason to lose an opportunity; only listed ones exclude.
        coalesce(stages.can_be_sales_accepted, true) as can_be_sales_accepted,
        opportunities.opportunity_type,
        opportunities.lead_source,
        case
            when opportunities.lead_source is null then 'Unknown'
            else coalesce(lead_source_types.lead_source_type, 'Other')
        end as lead_source_type,
        opportunities.sales_qualified_source,
        coalesce(source_groups.source_group, 'Other') as source_group,
        coalesce(opportunities.sales_segment, 'Unknown') as sales_segment,
        opportunities.reason_for_loss,
        coalesce(opportunities.currency_code, '{{ var("reporting_currency") }}') as currency_code,
        opportunities.is_closed,
        opportunities.is_won,
        opportunities.is_deleted,
        coalesce(
            opportunities.probability_percent, stages.default_probability_percent
        ) as probability_percent,
        opportunities.total_contract_value,
        opportunities.incremental_acv,
        opportunities.acv,
        rates.rate_to_reporting,
        opportunities.total_contract_value
        * rates.rate_to_reporting as total_contract_value_reporting,
        opportunities.incremental_acv * rates.rate_to_reporting as incremental_acv_reporting,
        opportunities.acv * rates.rate_to_reporting as acv_reporting,
        opportunities.close_date,
        opportunities.sales_accepted_date,
        opportunities.sales_qualified_date,
        opportunities.created_at,
        opportunities.modified_at
    from opportunities
    left join stages
        on opportunities.stage_name = stages.stage_name
    left join source_groups
        on opportunities.sales_qualified_source = source_groups.sales_qualified_source
    left join lead_source_types
        on opportunities.lead_source = lead_source_types.lead_source
    -- Rates of the day the deal closes; the latest known one while that lies ahead.
    left join rates
        on {{ is_rate_of(
            "coalesce(opportunities.currency_code, '" ~ var('reporting_currency') ~ "')",
            "coalesce(opportunities.close_date, (opportunities.created_at at time zone 'UTC')::date)"
        ) }}
)

select * from final
