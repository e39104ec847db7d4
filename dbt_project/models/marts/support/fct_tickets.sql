with

tickets as (
    select * from {{ ref('stg_zendesk__tickets') }}
),

final as (
    select
        ticket_id,
        external_id,
        organization_id,
        requester_id,
        assignee_id,
        group_id,
        problem_id,
        ticket_type,
        priority,
        ticket_status,
        via ->> 'channel' as channel,
        satisfaction_rating ->> 'score' as satisfaction_score,
        is_deleted,
        coalesce(ticket_status in ('solved', 'closed'), false) as is_solved,
        coalesce(is_public, false) as is_public,
        coalesce(
            case when jsonb_typeof(tags) = 'array' then jsonb_array_length(tags) end, 0
        ) as tag_count,
        due_at,
        created_at,
        (created_at at time zone 'UTC')::date as created_date,
        updated_at
    from tickets
)

select * from final
