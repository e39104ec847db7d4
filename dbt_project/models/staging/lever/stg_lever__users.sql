with

source as (
    select * from {{ raw_table('lever', 'users') }}
),

final as (
    select
        {{ clean_text('id') }} as user_id,
        {{ clean_text('external_directory_id') }} as external_directory_id,
        {{ clean_text('manager_id') }} as manager_id,
        {{ clean_text('name') }} as user_name,
        {{ clean_text('username') }} as username,
        {{ clean_text('email') }} as email,
        {{ clean_text('photo') }} as photo,
        {{ clean_text('access_role') }} as access_role,
        {{ clean_text('job_title') }} as job_title,
        linked_contact_ids,
        created_at,
        deactivated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
