{{ config(materialized='view') }}

with

used as (
    select * from {{ ref('int_installs__used_monthly') }}
),

-- A month whose pings were all deleted since has none left.
pings as (
    select
        usage_ping_id,
        is_deleted
    from {{ ref('int_usage_pings__unpacked') }}
    where is_deleted
),

hosts as (
    select * from {{ ref('int_raw_hosts__matched_to_accounts') }}
),

final as (
    select
        used.install_month_id,
        used.install_uuid,
        hosts.account_id,
        hosts.host_key,
        used.month_start_date,
        used.main_edition,
        used.product_tier,
        used.version,
        used.version_major,
        used.version_minor,
        used.active_user_count,
        {%- for counter in usage_counters() %}
        used.uses_{{ counter }},
        {%- endfor %}
        used.pinged_at
    from used
    left join pings
        on used.usage_ping_id = pings.usage_ping_id
    left join hosts
        on used.raw_host = hosts.raw_host
    where pings.usage_ping_id is null
)

select * from final
