-- A plain select: Postgres looks through it, to the index that finds the latest pings and to the
-- statistics of the columns. With common table expressions in it the view would be a wall.
select
    id as usage_ping_id,
    {{ clean_text('uuid') }} as install_uuid,
    host_id,
    license_id,
    hostname as host_name,
    {{ clean_text('source_ip') }} as source_ip,
    {{ raw_host('coalesce(hostname, source_ip)') }} as raw_host,
    {{ clean_text('version') }} as version,
    {{ clean_text('edition') }} as edition,
    {{ clean_text('installation_type') }} as installation_type,
    {{ clean_text('license_add_ons') }} as license_add_ons,
    mattermost_enabled as is_mattermost_enabled,
    active_user_count,
    historical_max_users,
    license_user_count,
    license_restricted_user_count,
    stats,
    {{ clean_text('counts') }} as counts,
    license_starts_at,
    license_expires_at,
    recorded_at,
    created_at,
    updated_at,
    {{ is_deleted() }} as is_deleted,
    _loaded_at as loaded_at
from {{ raw_table('version', 'usage_data') }}
