{{ config(materialized='view') }}

with

pings as (
    select * from {{ ref('int_usage_pings__unpacked') }}
    where not is_deleted
),

hosts as (
    select * from {{ ref('int_raw_hosts__matched_to_accounts') }}
),

final as (
    select
        pings.usage_ping_id,
        pings.install_uuid,
        pings.host_id,
        pings.license_id,
        hosts.account_id,
        hosts.host_key,
        pings.version,
        pings.version_major,
        pings.version_minor,
        pings.main_edition,
        pings.product_tier,
        pings.installation_type,
        pings.is_mattermost_enabled,
        pings.active_user_count,
        {%- for counter in usage_counters() %}
        pings.{{ counter }}_count,
        {%- endfor %}
        pings.recorded_at,
        pings.created_at,
        (pings.pinged_at at time zone 'UTC')::date as pinged_date,
        pings.pinged_at
    from pings
    left join hosts
        on pings.raw_host = hosts.raw_host
)

select * from final
