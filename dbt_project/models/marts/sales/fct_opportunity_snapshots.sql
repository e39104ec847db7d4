with

snapshots as (
    select * from {{ ref('snap_salesforce__opportunities') }}
),

stages as (
    select * from {{ ref('opportunity_stages') }}
),

final as (
    select
        snapshots.dbt_scd_id as opportunity_snapshot_id,
        snapshots.opportunity_id,
        snapshots.account_id,
        snapshots.owner_id,
        snapshots.stage_name,
        coalesce(stages.mapped_stage, 'Unmapped') as mapped_stage,
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
        snapshots.dbt_valid_from as valid_from_at,
        snapshots.dbt_valid_to as valid_before_at
    from snapshots
    left join stages
        on snapshots.stage_name = stages.stage_name
)

select * from final
