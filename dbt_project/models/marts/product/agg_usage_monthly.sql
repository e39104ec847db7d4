with

pings as (
    select * from {{ ref('fct_usage_pings') }}
    where install_uuid is not null
),

-- The last ping of the month stands for the month: counters are running totals.
latest as (
    select distinct on (install_uuid, date_trunc('month', pinged_at at time zone 'UTC'))
        install_uuid,
        account_id,
        host_key,
        main_edition,
        product_tier,
        version,
        version_major,
        version_minor,
        active_user_count,
        {%- for counter in usage_counters() %}
        {{ counter }}_count,
        {%- endfor %}
        pinged_at
    from pings
    order by
        install_uuid,
        date_trunc('month', pinged_at at time zone 'UTC'),
        pinged_at desc,
        usage_ping_id desc
),

final as (
    select
        install_uuid
        || ' ' || date_trunc('month', pinged_at at time zone 'UTC')::date as install_month_id,
        install_uuid,
        account_id,
        host_key,
        date_trunc('month', pinged_at at time zone 'UTC')::date as month_start_date,
        main_edition,
        product_tier,
        version,
        version_major,
        version_minor,
        active_user_count,
        {%- for counter in usage_counters() %}
        coalesce({{ counter }}_count > 0, false) as uses_{{ counter }},
        {%- endfor %}
        pinged_at
    from latest
)

select * from final
