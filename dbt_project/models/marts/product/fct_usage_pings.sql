with

pings as (
    select * from {{ ref('stg_version__usage_data') }}
    where not is_deleted
),

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

versions as (
    select distinct version
    from pings
    where version is not null
),

-- There are few versions and many pings: each is read once.
parsed_versions as materialized (
    select
        version,
        substring(version from '^\s*v?([0-9]{1,6})(?![0-9])')::integer as version_major,
        substring(version from '^\s*v?[0-9]+[.]([0-9]{1,6})(?![0-9])')::integer as version_minor,
        case when version ~* 'ee' then 'EE' else 'CE' end as main_edition
    from versions
),

final as (
    select
        pings.usage_ping_id,
        pings.install_uuid,
        pings.host_id,
        pings.license_id,
        matches.account_id,
        case
            when cleaned_hosts.host_kind in ('domain', 'ipv4', 'ipv6')
                then cleaned_hosts.clean_full_domain
        end as host_key,
        pings.version,
        parsed_versions.version_major,
        parsed_versions.version_minor,
        coalesce(parsed_versions.main_edition, 'CE') as main_edition,
        case
            when pings.edition = 'CE' then 'Core'
            when pings.edition = 'EES' then 'Starter'
            when pings.edition = 'EEP' then 'Premium'
            when pings.edition = 'EEU' then 'Ultimate'
            when pings.edition = 'EE Free' then 'Core'
            when pings.edition like 'EE%' then 'Starter'
        end as product_tier,
        pings.installation_type,
        pings.is_mattermost_enabled,
        pings.active_user_count,
        {%- for counter in usage_counters() %}
        {{ json_count('pings.stats', counter) }} as {{ counter }}_count,
        {%- endfor %}
        pings.recorded_at,
        pings.created_at,
        (pings.updated_at at time zone 'UTC')::date as pinged_date,
        pings.updated_at as pinged_at
    from pings
    left join cleaned_hosts
        on pings.raw_host = cleaned_hosts.raw_host
    left join parsed_versions
        on pings.version = parsed_versions.version
    left join matches
        on
            coalesce(
                case
                    when cleaned_hosts.host_kind = 'domain' then cleaned_hosts.clean_domain
                end,
                cleaned_hosts.clean_full_domain
            ) = matches.company_key
)

select * from final
