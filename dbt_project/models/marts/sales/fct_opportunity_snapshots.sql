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

remembered as (
    select * from {{ ref('int_opportunities__remembered') }}
),

stages as (
    select * from {{ ref('opportunity_stages') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

states as (
    select
        dbt_scd_id as opportunity_snapshot_id,
        opportunity_id,
        account_id,
        owner_id,
        'snapshot' as state_source,
        stage_name,
        opportunity_type,
        currency_code,
        is_closed,
        is_won,
        is_deleted,
        total_contract_value,
        incremental_acv,
        acv,
        close_date,
        sales_accepted_date,
        created_at,
        dbt_valid_from as valid_from_at,
        dbt_valid_to as valid_before_at
    from snapshots

    union all

    select
        opportunity_history_id as opportunity_snapshot_id,
        opportunity_id,
        account_id,
        owner_id,
        'history' as state_source,
        stage_name,
        opportunity_type,
        currency_code,
        is_closed,
        is_won,
        false as is_deleted,
        total_contract_value,
        incremental_acv,
        acv,
        close_date,
        sales_accepted_date,
        created_at,
        valid_from_at,
        valid_before_at
    from remembered
),

stated as (
    select
        states.opportunity_snapshot_id,
        states.opportunity_id,
        states.account_id,
        states.owner_id,
        states.state_source,
        states.stage_name,
        coalesce(stages.mapped_stage, 'Unmapped') as mapped_stage,
        coalesce(stages.pipeline_state, 'Unmapped') as pipeline_state,
        coalesce(
            stages.stage_state,
            case
                when states.is_won then 'Won'
                when states.is_closed then 'Lost'
                else 'Open'
            end
        ) as stage_state,
        states.opportunity_type,
        coalesce(states.currency_code, '{{ var("reporting_currency") }}') as currency_code,
        states.is_closed,
        states.is_won,
        states.is_deleted,
        states.valid_before_at is null as is_current,
        states.total_contract_value,
        states.incremental_acv,
        states.acv,
        states.close_date,
        states.sales_accepted_date,
        states.created_at,
        states.valid_from_at,
        states.valid_before_at
    from states
    left join stages
        on states.stage_name = stages.stage_name
),

final as (
    select
        stated.opportunity_snapshot_id,
        stated.opportunity_id,
        stated.account_id,
        stated.owner_id,
        stated.state_source,
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
        -- What was before the first known state is not known: that state stands for it.
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
        on {{ is_rate_of(
            'stated.currency_code',
            "coalesce(stated.close_date, (stated.valid_from_at at time zone 'UTC')::date)"
        ) }}
)

select * from final
