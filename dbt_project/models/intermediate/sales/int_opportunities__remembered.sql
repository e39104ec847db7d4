with

history as (
    select * from {{ ref('stg_salesforce__opportunity_history') }}
    where not is_deleted
),

snapshots as (
    select * from {{ ref('snap_salesforce__opportunities') }}
),

first_states as (
    select distinct on (opportunity_id) *
    from snapshots
    order by opportunity_id, dbt_valid_from
),

-- From the first snapshot on the snapshots know more.
spanned as (
    select
        history.opportunity_history_id,
        history.opportunity_id,
        history.stage_name,
        history.amount,
        history.close_date,
        history.forecast_category = 'Closed' as is_won,
        history.forecast_category = 'Closed'
        or (history.forecast_category = 'Omitted' and history.probability = 0) as is_closed,
        history.created_at as valid_from_at,
        coalesce(
            lead(history.created_at) over (
                partition by history.opportunity_id
                order by history.created_at, history.opportunity_history_id
            ),
            first_states.dbt_valid_from
        ) as valid_before_at
    from history
    inner join first_states
        on
            history.opportunity_id = first_states.opportunity_id
            and history.created_at < first_states.dbt_valid_from
),

-- Salesforce's history has neither IACV nor ACV: those of the first snapshot stand in for them.
final as (
    select
        spanned.opportunity_history_id,
        spanned.opportunity_id,
        first_states.account_id,
        first_states.owner_id,
        spanned.stage_name,
        first_states.opportunity_type,
        first_states.currency_code,
        coalesce(spanned.is_closed, false) as is_closed,
        coalesce(spanned.is_won, false) as is_won,
        spanned.amount as total_contract_value,
        first_states.incremental_acv,
        first_states.acv,
        spanned.close_date,
        first_states.sales_accepted_date,
        first_states.created_at,
        spanned.valid_from_at,
        spanned.valid_before_at
    from spanned
    inner join first_states
        on spanned.opportunity_id = first_states.opportunity_id
    where spanned.valid_from_at < spanned.valid_before_at
)

select * from final
