with

source as (
    select * from {{ raw_table('zendesk', 'ticket_metrics') }}
),

final as (
    select
        id as ticket_metric_id,
        ticket_id,
        reply_time_in_minutes,
        first_resolution_time_in_minutes,
        full_resolution_time_in_minutes,
        agent_wait_time_in_minutes,
        requester_wait_time_in_minutes,
        on_hold_time_in_minutes,
        reopens,
        replies,
        group_stations,
        assignee_stations,
        assigned_at,
        initially_assigned_at,
        assignee_updated_at,
        requester_updated_at,
        status_updated_at,
        latest_comment_added_at,
        custom_status_updated_at,
        solved_at,
        created_at,
        updated_at,
        seen_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
