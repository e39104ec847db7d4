with

source as (
    select * from {{ raw_table('salesforce', 'events') }}
),

final as (
    select
        {{ clean_text('id') }} as event_id,
        {{ clean_text('who_id') }} as who_id,
        {{ clean_text('what_id') }} as what_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('who_type') }} as who_type,
        {{ clean_text('what_type') }} as what_type,
        {{ clean_text('subject') }} as subject,
        {{ clean_text('description') }} as event_description,
        {{ clean_text('location') }} as location,
        {{ clean_text('show_as') }} as show_as,
        is_all_day_event,
        is_private,
        is_archived,
        duration_in_minutes,
        activity_date,
        start_date_time as start_date_at,
        end_date_time as end_date_at,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
