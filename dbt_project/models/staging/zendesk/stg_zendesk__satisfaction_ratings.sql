with

source as (
    select * from {{ raw_table('zendesk', 'satisfaction_ratings') }}
),

final as (
    select
        id as satisfaction_rating_id,
        ticket_id,
        assignee_id,
        group_id,
        requester_id,
        reason_id,
        {{ clean_text('score') }} as score,
        {{ clean_text('reason') }} as reason,
        {{ clean_text('comment') }} as comment,
        reason_code,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
