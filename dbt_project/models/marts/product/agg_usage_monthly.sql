{{ config(materialized='view') }}

with

-- A month whose pings were all deleted or moved since has none left.
used as (
    select * from {{ ref('int_installs__used_monthly') }}
    where usage_ping_id is not null
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
    left join hosts
        on used.raw_host = hosts.raw_host
)

select * from final
