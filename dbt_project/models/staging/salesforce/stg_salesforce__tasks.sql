with

source as (
    select * from {{ raw_table('salesforce', 'tasks') }}
),

final as (
    select
        {{ clean_text('id') }} as task_id,
        {{ clean_text('who_id') }} as who_id,
        {{ clean_text('what_id') }} as what_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('who_type') }} as who_type,
        {{ clean_text('what_type') }} as what_type,
        {{ clean_text('subject') }} as subject,
        {{ clean_text('description') }} as task_description,
        {{ clean_text('status') }} as task_status,
        {{ clean_text('priority') }} as priority,
        {{ clean_text('task_subtype') }} as task_subtype,
        is_closed,
        is_archived,
        call_duration_in_seconds,
        activity_date,
        completed_date_time as completed_date_at,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
