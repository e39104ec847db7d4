with

pings as (
    select * from {{ ref('int_pings__recent') }}
),

installs as (
    select * from {{ ref('int_installs__aligned') }}
),

usage_pings as (
    select * from {{ ref('stg_version__usage_data') }}
),

version_checks as (
    select * from {{ ref('stg_version__version_checks') }}
),

install_pings as (
    select
        installs.install_id,
        pings.host_key,
        pings.host_kind,
        pings.clean_domain,
        pings.raw_host,
        pings.ping_kind,
        pings.ping_number,
        pings.host_id,
        pings.install_uuid,
        pings.license_id,
        pings.version,
        pings.version_order,
        pings.edition,
        pings.installation_type,
        pings.is_mattermost_enabled,
        pings.active_user_count,
        pings.pinged_at
    from pings
    inner join installs
        on pings.host_key = installs.host_key
),

-- The latest ping of each kind; between two of one instant, the greater version.
latest as (
    select distinct on (install_id, ping_kind) *
    from install_pings
    order by
        install_id,
        ping_kind,
        pinged_at desc,
        version_order collate "C" desc nulls last,
        ping_number desc
),

-- The record is one ping as a whole: the latest usage ping, else the latest version check.
chosen as (
    select distinct on (install_id) *
    from latest
    order by install_id, ping_kind = 'usage_ping' desc
),

-- A name tells more than an address, so any ping with a name names the host.
named as (
    select distinct on (install_id)
        install_id,
        host_key,
        host_kind,
        clean_domain,
        raw_host
    from install_pings
    order by
        install_id,
        host_kind = 'domain' desc,
        ping_kind = 'usage_ping' desc,
        pinged_at desc,
        ping_number desc
),

counted as (
    select
        install_id,
        min(pinged_at) as first_pinged_at,
        max(pinged_at) as last_pinged_at,
        count(*) filter (where ping_kind = 'usage_ping') as usage_ping_count,
        count(*) filter (where ping_kind = 'version_check') as version_check_count,
        count(distinct host_key) as host_name_count
    from install_pings
    group by install_id
),

final as (
    select
        named.host_key,
        chosen.install_id,
        named.host_kind,
        named.clean_domain,
        {{ without_credentials('named.raw_host') }} as raw_host,
        chosen.ping_kind as source_ping_kind,
        chosen.ping_number as source_ping_number,
        coalesce(chosen.host_id, latest_check.host_id) as host_id,
        chosen.install_uuid,
        chosen.license_id,
        chosen.version,
        chosen.version_order,
        chosen.edition,
        chosen.installation_type,
        chosen.is_mattermost_enabled,
        chosen.active_user_count,
        usage_pings.stats as usage_stats,
        {{ without_credentials('version_checks.request_data') }} as version_check_request,
        counted.usage_ping_count,
        counted.version_check_count,
        counted.host_name_count,
        counted.first_pinged_at,
        counted.last_pinged_at
    from chosen
    inner join named
        on chosen.install_id = named.install_id
    inner join counted
        on chosen.install_id = counted.install_id
    left join latest as latest_check
        on
            chosen.install_id = latest_check.install_id
            and latest_check.ping_kind = 'version_check'
    left join usage_pings
        on chosen.ping_kind = 'usage_ping' and chosen.ping_number = usage_pings.usage_ping_id
    left join version_checks
        on latest_check.ping_number = version_checks.version_check_id
)

select * from final
