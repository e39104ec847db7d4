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
        substring(pings.version from '^\s*v?([0-9]{1,6})(?![0-9])')::integer as version_major,
        substring(pings.version from '^\s*v?[0-9]+[.]([0-9]{1,6})(?![0-9])')::integer
            as version_minor,
        case when pings.version ~* 'ee' then 'EE' else 'CE' end as main_edition,
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
