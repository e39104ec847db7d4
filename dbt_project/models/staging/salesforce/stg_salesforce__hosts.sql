with

source as (
    select * from {{ raw_table('salesforce', 'hosts') }}
),

final as (
    select
        {{ clean_text('id') }} as salesforce_host_id,
        {{ clean_text(mapped('hosts', 'account_id')) }} as account_id,
        {{ clean_text(mapped('hosts', 'meltano_id')) }} as meltano_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('owner_type') }} as owner_type,
        {{ clean_text('name') }} as host_name,
        {{ clean_text(mapped('hosts', 'original_host_name')) }} as original_host_name,
        {{ clean_text(mapped('hosts', 'installation_type')) }} as installation_type,
        {{ clean_text(mapped('hosts', 'raw_usage_stats')) }} as raw_usage_stats,
        {{ clean_text(mapped('hosts', 'raw_version_stats')) }} as raw_version_stats,
        {{ clean_text(mapped('hosts', 'version_link')) }} as version_link,
        {{ clean_text(mapped('hosts', 'version')) }} as version,
        {{ clean_text(mapped('hosts', 'edition')) }} as edition,
        {{ clean_text(mapped('hosts', 'license_ids')) }} as license_ids,
        {{ clean_text(mapped('hosts', 'company_source')) }} as company_source,
        coalesce(
            {{ mapped('hosts', 'is_mattermost_enabled', 'boolean') }}, false
        ) as is_mattermost_enabled,
        {{ mapped('hosts', 'active_user_count', 'numeric') }} as active_user_count,
        {{ mapped('hosts', 'last_ping_date', 'date') }} as last_ping_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
