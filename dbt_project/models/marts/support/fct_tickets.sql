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
        coalesce(tickets.ticket_status in ('solved', 'closed'), false) as is_solved,
        coalesce(tickets.is_public, false) as is_public,
        coalesce(
            case when jsonb_typeof(tickets.tags) = 'array' then jsonb_array_length(tickets.tags) end, 0
        ) as tag_count,
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
)

select * from final
