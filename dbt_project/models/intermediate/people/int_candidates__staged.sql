with

opportunities as (
    select * from {{ ref('stg_lever__opportunities') }}
    where not is_deleted
),

stages as (
    select * from {{ ref('stg_lever__stages') }}
),

changes as (
    select
        opportunities.opportunity_id,
        change.position,
        change.change ->> 'toStageId' as stage_id,
        to_timestamp(
            case
                when jsonb_typeof(change.change -> 'updatedAt') = 'number'
                    then (change.change ->> 'updatedAt')::numeric / 1000
            end
        ) as entered_at
    from opportunities
    cross join
        lateral jsonb_array_elements(
            case
                when jsonb_typeof(opportunities.stage_changes) = 'array'
                    then opportunities.stage_changes
            end
        ) with ordinality as change (change, position)
),

-- A stage lasts until the next change; the last one until the candidate is archived.
final as (
    select
        changes.opportunity_id || ' ' || changes.position as candidate_stage_id,
        changes.opportunity_id as candidate_id,
        changes.position as stage_number,
        changes.stage_id,
        stages.text as stage_name,
        changes.entered_at,
        coalesce(
            lead(changes.entered_at) over (
                partition by changes.opportunity_id order by changes.position
            ),
            opportunities.archived_at
        ) as left_at
    from changes
    inner join opportunities
        on changes.opportunity_id = opportunities.opportunity_id
    left join stages
        on changes.stage_id = stages.stage_id
)

select * from final
