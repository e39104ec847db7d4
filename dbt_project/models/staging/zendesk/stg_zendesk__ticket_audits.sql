with

source as (
    select * from {{ raw_table('zendesk', 'ticket_audits') }}
),

final as (
    select
        id as ticket_audit_id,
        ticket_id,
        updater_id,
        {{ clean_text('event_type') }} as event_type,
        {{ clean_text('via') }} as via,
        system,
        metadata,
        child_events,
        timestamp,
        created_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
