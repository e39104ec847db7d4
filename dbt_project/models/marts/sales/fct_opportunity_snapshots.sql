{{
    config(
        indexes=[{'columns': ['opportunity_id', 'valid_from_at']}],
        post_hook="{{ pipeline_change_function(this) }}",
    )
}}

with

snapshots as (
    select * from {{ ref('snap_salesforce__opportunities') }}
),

stages as (
    select * from {{ ref('opportunity_stages') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

stated as (
    select
        snapshots.dbt_scd_id as opportunity_snapshot_id,
        snapshots.opportunity_id,
        snapshots.account_id,
        snapshots.owner_id,
        snapshots.stage_name,
        coalesce(stages.mapped_stage, 'Unmapped') as mapped_stage,
        coalesce(stages.pipeline_state, 'Unmapped') as pipeline_state,
        coalesce(
            stages.stage_state,
            case
                when snapshots.is_won then 'Won'
                when snapshots.is_closed then 'Lost'
                else 'Open'
            end
        ) as stage_state,
        snapshots.opportunity_type,
        coalesce(snapshots.currency_code, '{{ var("reporting_currency") }}') as currency_code,
        snapshots.is_closed,
        snapshots.is_won,
        snapshots.is_deleted,
        snapshots.dbt_valid_to is null as is_current,
        snapshots.total_contract_value,
        snapshots.incremental_acv,
        snapshots.acv,
        snapshots.close_date,
        snapshots.sales_accepted_date,
        snapshots.created_at,
        snapshots.dbt_valid_from as valid_from_at,
        snapshots.dbt_valid_to as valid_before_at
    from snapshots
    left join stages
        on snapshots.stage_name = stages.stage_name
),

final as (
    select
        stated.opportunity_snapshot_id,
        stated.opportunity_id,
        stated.account_id,
        stated.owner_id,
        stated.stage_name,
        stated.mapped_stage,
        stated.pipeline_state,
        stated.stage_state,
        stated.opportunity_type,
        stated.currency_code,
        stated.is_closed,
        stated.is_won,
        stated.is_deleted,
        stated.is_current,
        -- In the pipeline from sales' acceptance on; an unlisted open stage is no reason to miss it.
        not stated.is_deleted
        and stated.stage_state = 'Open'
        and (
            stated.pipeline_state <> 'Unmapped' or stated.mapped_stage = 'Unmapped'
        ) as is_in_pipeline,
        stated.total_contract_value,
        stated.incremental_acv,
        stated.acv,
        stated.total_contract_value * rates.rate_to_reporting as total_contract_value_reporting,
        stated.incremental_acv * rates.rate_to_reporting as incremental_acv_reporting,
        stated.acv * rates.rate_to_reporting as acv_reporting,
        stated.close_date,
        stated.sales_accepted_date,
        -- What was before the first snapshot is not known: the first state stands for it.
        case
            when
                row_number() over (
                    partition by stated.opportunity_id order by stated.valid_from_at
                ) = 1
                then least(stated.created_at, stated.valid_from_at)
            else stated.valid_from_at
        end as assumed_from_at,
        stated.valid_from_at,
        stated.valid_before_at
    from stated
    left join rates
        on
            stated.currency_code = rates.currency_code
            and coalesce(stated.close_date, stated.valid_from_at::date) >= rates.valid_from
            and coalesce(stated.close_date, stated.valid_from_at::date) < rates.valid_before
)

select * from final
