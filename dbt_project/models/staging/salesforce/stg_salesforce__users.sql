with

source as (
    select * from {{ raw_table('salesforce', 'users') }}
),

final as (
    select
        {{ clean_text('id') }} as user_id,
        {{ clean_text('manager_id') }} as manager_id,
        {{ clean_text('user_role_id') }} as user_role_id,
        {{ clean_text('username') }} as username,
        {{ clean_text('name') }} as user_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('title') }} as title,
        {{ clean_text('department') }} as department,
        coalesce(is_active, false) as is_active,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
