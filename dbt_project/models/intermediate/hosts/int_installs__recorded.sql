-- What is long of a ping (counters, request) stays in its own table: who needs it fetches it by key.
-- One ping of each kind an install, by the index of moments. The pass over the pings has just read
-- them, so a page costs little more than a look into memory; at the price that the planner gives to
-- disks it would read all pings once more.
{{ config(pre_hook="set local work_mem = '256MB'; set local random_page_cost = 0.3") }}

with

install_hosts as not materialized (
    select * from {{ ref('int_installs__pinged') }}
),

-- Pings from before are none of the latest; known beforehand, they are left out before they are read.
earliest as (
    select min(last_pinged_at) as pinged_at
    from install_hosts
    where is_latest
),

aligned as (
    select * from {{ ref('int_installs__aligned') }}
),

usage_pings as (
    select * from {{ ref('stg_version__usage_data') }}
    where not is_deleted
),

version_checks as (
    select * from {{ ref('stg_version__version_checks') }}
    where not is_deleted
),

-- The latest ping of each kind; between two of one instant, the greater version (which is only
-- looked at then: reading a version takes longer than all the rest).
latest_usage_pings as (
    select distinct on (install_hosts.install_id)
        install_hosts.install_id,
        usage_pings.usage_ping_id,
        usage_pings.host_id,
        usage_pings.install_uuid,
        usage_pings.license_id,
        usage_pings.version,
        usage_pings.edition,
        usage_pings.installation_type,
        usage_pings.is_mattermost_enabled,
        usage_pings.active_user_count
    from install_hosts
    inner join usage_pings
        on
            install_hosts.raw_host = usage_pings.raw_host
            and install_hosts.last_pinged_at = usage_pings.updated_at
            and install_hosts.host_id is not distinct from usage_pings.host_id
            and install_hosts.install_uuid is not distinct from usage_pings.install_uuid
    where
        install_hosts.is_latest
        and install_hosts.ping_kind = 'usage_ping'
        and usage_pings.updated_at >= (select pinged_at from earliest)
    order by
        install_hosts.install_id,
        case
            when count(*) over (partition by install_hosts.install_id) > 1
                then {{ version_order('usage_pings.version') }}
        end collate "C" desc nulls last,
        usage_pings.usage_ping_id desc
),

latest_version_checks as (
    select distinct on (install_hosts.install_id)
        install_hosts.install_id,
        version_checks.version_check_id,
        version_checks.host_id,
        version_checks.version,
        case when version_checks.version ~* 'ee' then 'EE' else 'CE' end as edition
    from install_hosts
    inner join version_checks
        on
            install_hosts.raw_host = version_checks.raw_host
            and install_hosts.last_pinged_at = version_checks.updated_at
            and install_hosts.host_id is not distinct from version_checks.host_id
    where
        install_hosts.is_latest
        and install_hosts.ping_kind = 'version_check'
        and version_checks.updated_at >= (select pinged_at from earliest)
    order by
        install_hosts.install_id,
        case
            when count(*) over (partition by install_hosts.install_id) > 1
                then {{ version_order('version_checks.version') }}
        end collate "C" desc nulls last,
        version_checks.version_check_id desc
),

-- A name tells more than an address, so any ping with a name names the host.
named as (
    select distinct on (install_id)
        install_id,
        host_key,
        host_kind,
        clean_domain,
        raw_host
    from install_hosts
    order by
        install_id,
        host_kind = 'domain' desc,
        ping_kind = 'usage_ping' desc,
        last_pinged_at desc,
        raw_host collate "C"
),

counted as (
    select
        install_id,
        min(first_pinged_at) as first_pinged_at,
        max(last_pinged_at) as last_pinged_at,
        coalesce(sum(ping_count) filter (where ping_kind = 'usage_ping'), 0)::bigint
            as usage_ping_count,
        coalesce(sum(ping_count) filter (where ping_kind = 'version_check'), 0)::bigint
            as version_check_count
    from install_hosts
    group by install_id
),

host_names as (
    select
        install_id,
        count(*) as host_name_count
    from aligned
    group by install_id
),

-- The record is one ping as a whole: the latest usage ping, else the latest version check.
chosen as (
    select
        named.host_key,
        named.install_id,
        named.host_kind,
        named.clean_domain,
        {{ without_credentials('named.raw_host') }} as raw_host,
        case
            when usage.install_id is not null then 'usage_ping' else 'version_check'
        end as source_ping_kind,
        coalesce(usage.usage_ping_id, checks.version_check_id) as source_ping_number,
        coalesce(usage.host_id, checks.host_id) as host_id,
        usage.install_uuid,
        usage.license_id,
        case when usage.install_id is not null then usage.version else checks.version end
            as version,
        case when usage.install_id is not null then usage.edition else checks.edition end
            as edition,
        usage.installation_type,
        usage.is_mattermost_enabled,
        usage.active_user_count,
        checks.version_check_id as latest_version_check_id,
        counted.usage_ping_count,
        counted.version_check_count,
        host_names.host_name_count,
        counted.first_pinged_at,
        counted.last_pinged_at
    from named
    inner join counted
        on named.install_id = counted.install_id
    inner join host_names
        on named.install_id = host_names.install_id
    left join latest_usage_pings as usage
        on named.install_id = usage.install_id
    left join latest_version_checks as checks
        on named.install_id = checks.install_id
),

-- Many installs, few versions: each is read once.
versions as (
    select
        version,
        {{ version_order('version') }} as version_order
    from chosen
    group by version
),

final as (
    select
        chosen.*,
        versions.version_order
    from chosen
    left join versions
        on chosen.version = versions.version
)

select * from final
