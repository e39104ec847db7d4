{{
    config(
        indexes=[{'columns': ['host_key']}, {'columns': ['ping_kind', 'ping_number']}],
    )
}}

with

usage_pings as (
    select * from {{ ref('stg_version__usage_data') }}
),

version_checks as (
    select * from {{ ref('stg_version__version_checks') }}
),

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

pings as (
    select
        'usage_ping' as ping_kind,
        usage_ping_id as ping_number,
        raw_host,
        host_id,
        install_uuid,
        version,
        edition,
        installation_type,
        license_id,
        active_user_count,
        is_mattermost_enabled,
        updated_at as pinged_at
    from usage_pings
    where not is_deleted

    union all

    select
        'version_check' as ping_kind,
        version_check_id as ping_number,
        raw_host,
        host_id,
        null as install_uuid,
        version,
        null as edition,
        null as installation_type,
        null as license_id,
        null as active_user_count,
        null as is_mattermost_enabled,
        updated_at as pinged_at
    from version_checks
    where not is_deleted
),

-- There are few versions and many pings: each is read once.
versions as (
    select distinct version
    from pings
    where version is not null
),

ordered_versions as materialized (
    select
        version,
        {{ version_order('version') }} as version_order,
        case when version ~* 'ee' then 'EE' else 'CE' end as edition
    from versions
),

as_of as (
    {% if var('as_of') -%}
        select '{{ var("as_of") }}'::timestamptz as as_of
    {%- else -%}
        -- A clock ahead of ours must not push the window away from the other pings.
        select least(max(pinged_at), now()) as as_of from pings
    {%- endif %}
),

final as (
    select
        pings.ping_kind || '-' || pings.ping_number as ping_id,
        pings.ping_kind,
        pings.ping_number,
        pings.raw_host,
        cleaned_hosts.host_kind,
        -- What names the host: the full domain or the address. Null: nothing that can be named.
        case
            when cleaned_hosts.host_kind in ('domain', 'ipv4', 'ipv6')
                then cleaned_hosts.clean_full_domain
        end as host_key,
        case
            when cleaned_hosts.host_kind = 'domain' then cleaned_hosts.clean_domain
        end as clean_domain,
        pings.host_id,
        pings.install_uuid,
        pings.version,
        ordered_versions.version_order,
        coalesce(
            pings.edition,
            case when pings.ping_kind = 'version_check' then ordered_versions.edition end
        ) as edition,
        pings.installation_type,
        pings.license_id,
        pings.active_user_count,
        pings.is_mattermost_enabled,
        pings.pinged_at
    from pings
    cross join as_of
    left join cleaned_hosts
        on pings.raw_host = cleaned_hosts.raw_host
    left join ordered_versions
        on pings.version = ordered_versions.version
    where
        pings.pinged_at >= as_of.as_of - interval '{{ var("ping_window_days") }} days'
        {%- if var('as_of') %}
        and pings.pinged_at <= as_of.as_of
        {%- endif %}
)

select * from final
