with

snapshots as (
    select * from {{ ref('fct_opportunity_snapshots') }}
    where not is_deleted
),

today as (
    {{ today_of(ref('stg_salesforce__opportunities'), 'system_modified_at') }}
),

marked as (
    select
        opportunity_id,
        stage_name,
        mapped_stage,
        stage_state,
        valid_from_at,
        valid_before_at,
        case
            when
                stage_name is distinct from lag(stage_name) over (
                    partition by opportunity_id order by valid_from_at
                )
                or lag(opportunity_id) over (
                    partition by opportunity_id order by valid_from_at
                ) is null
                then 1
            else 0
        end as is_entry
    from snapshots
),

-- States of one stage in a row are one stay in it.
numbered as (
    select
        opportunity_id,
        stage_name,
        mapped_stage,
        stage_state,
        valid_from_at,
        valid_before_at,
        sum(is_entry) over (
            partition by opportunity_id order by valid_from_at
        ) as stage_number
    from marked
),

final as (
    select
        numbered.opportunity_id || ' ' || numbered.stage_number as opportunity_stage_id,
        numbered.opportunity_id,
        numbered.stage_number::bigint as stage_number,
        numbered.stage_name,
        numbered.mapped_stage,
        numbered.stage_state,
        bool_or(numbered.valid_before_at is null) as is_current,
        coalesce(
            case
                when not bool_or(numbered.valid_before_at is null)
                    then (max(numbered.valid_before_at) at time zone 'UTC')::date
            end,
            today.today
        ) - (min(numbered.valid_from_at) at time zone 'UTC')::date as days_in_stage,
        min(numbered.valid_from_at) as entered_at,
        case
            when not bool_or(numbered.valid_before_at is null)
                then max(numbered.valid_before_at)
        end as left_at
    from numbered
    cross join today
    group by
        numbered.opportunity_id,
        numbered.stage_number,
        numbered.stage_name,
        numbered.mapped_stage,
        numbered.stage_state,
        today.today
)

select * from final
