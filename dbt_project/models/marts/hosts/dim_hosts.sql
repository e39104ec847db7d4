with

hosts as (
    select * from {{ ref('int_hosts__matched_to_accounts') }}
),

final as (
    select
        host_key,
        install_id,
        host_id,
        install_uuid,
        license_id,
        account_id,
        new_account_domain,
        host_kind,
        clean_domain,
        raw_host,
        company_name,
        company_source,
        match_status,
        match_method,
        match_confidence,
        version,
        split_part(version_order, '.', 1)::integer as version_major,
        split_part(version_order, '.', 2)::integer as version_minor,
        edition,
        installation_type,
        source_ping_kind,
        is_mattermost_enabled,
        active_user_count,
        usage_ping_count,
        version_check_count,
        host_name_count,
        first_pinged_at,
        last_pinged_at
    from hosts
)

select * from final
