with

source as (
    select * from {{ raw_table('marketo', 'program_members') }}
),

final as (
    select
        program_id,
        lead_id,
        {{ clean_text('program') }} as program,
        {{ clean_text('status_name') }} as status_name,
        {{ clean_text('status_reason') }} as status_reason,
        {{ clean_text('nurture_cadence') }} as nurture_cadence,
        {{ clean_text('track_name') }} as track_name,
        {{ clean_text('track_category') }} as track_category,
        {{ clean_text('registration_code') }} as registration_code,
        {{ clean_text('webinar_url') }} as webinar_url,
        reached_success as is_reached_success,
        acquired_by as is_acquired_by,
        is_exhausted,
        waitlist_priority,
        membership_date as membership_at,
        reached_success_date as reached_success_at,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
