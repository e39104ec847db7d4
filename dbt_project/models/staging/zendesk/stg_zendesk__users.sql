with

source as (
    select * from {{ raw_table('zendesk', 'users') }}
),

final as (
    select
        id as user_id,
        {{ clean_text('external_id') }} as external_id,
        organization_id,
        default_group_id,
        custom_role_id,
        {{ clean_text('url') }} as url,
        {{ clean_text('name') }} as user_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('phone') }} as phone,
        {{ clean_text('role') }} as role,
        {{ clean_text('locale') }} as locale,
        {{ clean_text('time_zone') }} as time_zone,
        tags,
        user_fields,
        coalesce(active, false) as is_active,
        coalesce(verified, false) as is_verified,
        coalesce(suspended, false) as is_suspended,
        coalesce(shared, false) as is_shared,
        last_login_at,
        created_at,
        updated_at,
        {{ is_deleted('not active') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
