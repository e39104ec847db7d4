with

source as (
    select * from {{ raw_table('zendesk', 'ticket_comments') }}
),

final as (
    select
        id as ticket_comment_id,
        ticket_id,
        event_id,
        author_id,
        audit_id,
        {{ clean_text('type') }} as ticket_comment_type,
        {{ clean_text('body') }} as body,
        {{ clean_text('html_body') }} as html_body,
        {{ clean_text('plain_body') }} as plain_body,
        public as is_public,
        via,
        metadata,
        attachments,
        created_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
