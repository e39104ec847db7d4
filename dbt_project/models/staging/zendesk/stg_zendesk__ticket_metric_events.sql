with

source as (
    select * from {{ raw_table('zendesk', 'ticket_metric_events') }}
),

final as (
    select
        id as ticket_metric_event_id,
        ticket_id,
        instance_id,
        {{ clean_text('metric') }} as metric,
        {{ clean_text('type') }} as ticket_metric_event_type,
        status as ticket_metric_event_status,
        sla,
        group_sla,
        time,
        {{ is_deleted('deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
