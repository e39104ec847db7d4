with

tickets as (
    select * from {{ ref('stg_zendesk__tickets') }}
),

organizations as (
    select * from {{ ref('int_organizations__matched_to_accounts') }}
),

groups as (
    select * from {{ ref('stg_zendesk__groups') }}
),

-- Zendesk counts the minutes itself, by the clock and by the hours in which support works.
metrics as (
    select distinct on (ticket_id)
        ticket_id,
        {{ json_count('reply_time_in_minutes', 'calendar') }} as first_reply_minutes,
        {{ json_count('reply_time_in_minutes', 'business') }} as first_reply_business_minutes,
        {{ json_count('first_resolution_time_in_minutes', 'calendar') }}
            as first_resolution_minutes,
        {{ json_count('full_resolution_time_in_minutes', 'calendar') }} as full_resolution_minutes,
        {{ json_count('full_resolution_time_in_minutes', 'business') }}
            as full_resolution_business_minutes,
        {{ json_count('requester_wait_time_in_minutes', 'calendar') }} as requester_wait_minutes,
        reopens as reopen_count,
        replies as reply_count,
        solved_at
    from {{ ref('stg_zendesk__ticket_metrics') }}
    where not is_deleted
    order by ticket_id, updated_at desc nulls last, ticket_metric_id desc
),

users as (
    select * from {{ ref('stg_zendesk__users') }}
),

final as (
    select
        tickets.ticket_id,
        tickets.external_id,
        coalesce(tickets.organization_id, requesters.organization_id) as organization_id,
        organizations.account_id,
        tickets.requester_id,
        tickets.assignee_id,
        tickets.group_id,
        tickets.problem_id,
        organizations.organization_name,
        groups.group_name,
        tickets.ticket_type,
        tickets.priority,
        tickets.ticket_status,
        tickets.via ->> 'channel' as channel,
        tickets.satisfaction_rating ->> 'score' as satisfaction_score,
        tickets.is_deleted,
        -- Zendesk closes what is merged into another ticket, and says so by a tag of its own.
        coalesce(
            jsonb_typeof(tickets.tags) = 'array' and tickets.tags @> '["closed_by_merge"]', false
        ) as is_merged,
        coalesce(tickets.ticket_status in ('solved', 'closed'), false) as is_solved,
        coalesce(tickets.is_public, false) as is_public,
        coalesce(
            case when jsonb_typeof(tickets.tags) = 'array' then jsonb_array_length(tickets.tags) end, 0
        ) as tag_count,
        metrics.reopen_count::bigint as reopen_count,
        metrics.reply_count::bigint as reply_count,
        metrics.first_reply_minutes,
        metrics.first_reply_business_minutes,
        metrics.first_resolution_minutes,
        metrics.full_resolution_minutes,
        metrics.full_resolution_business_minutes,
        metrics.requester_wait_minutes,
        metrics.solved_at,
        tickets.due_at,
        tickets.created_at,
        (tickets.created_at at time zone 'UTC')::date as created_date,
        tickets.updated_at
    from tickets
    left join users as requesters
        on tickets.requester_id = requesters.user_id
    left join organizations
        on
            coalesce(tickets.organization_id, requesters.organization_id)
            = organizations.organization_id
    left join groups
        on tickets.group_id = groups.group_id
    left join metrics
        on tickets.ticket_id = metrics.ticket_id
)

select * from final
