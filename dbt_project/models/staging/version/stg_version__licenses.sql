with

source as (
    select * from {{ raw_table('version', 'licenses') }}
),

final as (
    select
        id as license_id,
        {{ clean_text('company') }} as company,
        {{ clean_text('add_ons') }} as add_ons,
        {{ clean_text('version') }} as version,
        user_count,
        active_users_count,
        historical_max_users_count,
        starts_on,
        expires_on,
        last_ping_received_at,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
