{#- The months of an install that got pings since the last run are found anew, the others stay. -#}
{{
    config(
        materialized='incremental',
        unique_key='install_month_id',
        incremental_strategy='delete+insert',
        on_schema_change='append_new_columns',
        indexes=[{'columns': ['install_month_id'], 'unique': true}, {'columns': ['loaded_at']}],
    )
}}

with

pings as (
    select * from {{ ref('int_usage_pings__unpacked') }}
    where install_uuid is not null and not is_deleted
),

{% if is_incremental() -%}
touched as (
    select distinct
        install_uuid,
        date_trunc('month', pinged_at at time zone 'UTC') as month
    from {{ ref('int_usage_pings__unpacked') }}
    where
        install_uuid is not null
        and loaded_at >= (
            select coalesce(max(loaded_at), '-infinity') from {{ this }}
        ) - interval '{{ var("incremental_lookback_hours") }} hours'
),

chosen as (
    select pings.*
    from pings
    inner join touched
        on
            pings.install_uuid = touched.install_uuid
            and date_trunc('month', pings.pinged_at at time zone 'UTC') = touched.month
),
{%- else -%}
chosen as (
    select * from pings
),
{%- endif %}

-- The last ping of the month stands for the month: counters are running totals.
latest as (
    select distinct on (install_uuid, date_trunc('month', pinged_at at time zone 'UTC')) *
    from chosen
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
        usage_ping_id,
        install_uuid,
        raw_host,
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
        pinged_at,
        loaded_at
    from latest
)

select * from final
