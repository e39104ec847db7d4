{#-
    The last ping of a month stands for the month: counters are running totals.
    The months that pings unpacked since the last run are of, or were of, are found anew; the others
    stay. A month that has no ping left keeps a row without one, which agg_usage_monthly leaves out.
-#}
{{
    config(
        materialized='incremental',
        unique_key='install_month_id',
        incremental_strategy='delete+insert',
        on_schema_change='append_new_columns',
        indexes=[
            {'columns': ['install_month_id'], 'unique': true},
            {'columns': ['usage_ping_id']},
            {'columns': ['unpacked_at']},
        ],
    )
}}
{%- set months = 'touched' if is_incremental() else 'latest' %}
{#- A table that was made before the column was known has all its months found anew, once. #}
{%- set has_times = is_incremental() and 'unpacked_at' in (
    adapter.get_columns_in_relation(this) | map(attribute='name') | list
) %}

with

{% if is_incremental() -%}
news as (
    select
        usage_ping_id,
        install_uuid,
        date_trunc('month', pinged_at at time zone 'UTC') as month
    from {{ ref('int_usage_pings__unpacked') }}
    {%- if has_times %}
    where
        unpacked_at > (
            select coalesce(max(known.unpacked_at), '-infinity') from {{ this }} as known
        )
    {%- endif %}
),

touched as (
    select
        install_uuid,
        month
    from news
    where install_uuid is not null and month is not null
    union
    select
        known.install_uuid,
        known.month_start_date::timestamp as month
    from {{ this }} as known
    inner join news
        on known.usage_ping_id = news.usage_ping_id
),

-- Each month is looked up by itself: a day's news touch few of them.
latest as (
    select
        pings.*,
        touched.month
    from touched
    cross join
        lateral (
            select * from {{ ref('int_usage_pings__unpacked') }} as unpacked
            where
                unpacked.install_uuid = touched.install_uuid
                and unpacked.pinged_at >= touched.month at time zone 'UTC'
                and unpacked.pinged_at <= (
                    touched.month + interval '1 month -1 microsecond'
                ) at time zone 'UTC'
                and not unpacked.is_deleted
            order by
                unpacked.pinged_at desc,
                unpacked.usage_ping_id desc
            limit 1
        ) as pings
),
{%- else -%}
pings as (
    select
        *,
        date_trunc('month', pinged_at at time zone 'UTC') as month
    from {{ ref('int_usage_pings__unpacked') }}
    where install_uuid is not null and not is_deleted
),

latest as (
    select distinct on (install_uuid, month) *
    from pings
    order by
        install_uuid,
        month,
        pinged_at desc,
        usage_ping_id desc
),
{%- endif %}

final as (
    select
        {{ months }}.install_uuid || ' ' || {{ months }}.month::date as install_month_id,
        latest.usage_ping_id,
        {{ months }}.install_uuid,
        latest.raw_host,
        {{ months }}.month::date as month_start_date,
        latest.main_edition,
        latest.product_tier,
        latest.version,
        latest.version_major,
        latest.version_minor,
        latest.active_user_count,
        {%- for counter in usage_counters() %}
        coalesce(latest.{{ counter }}_count > 0, false) as uses_{{ counter }},
        {%- endfor %}
        latest.pinged_at,
        latest.loaded_at,
        latest.unpacked_at
    from {{ months }}
    {%- if is_incremental() %}
    left join latest
        on
            touched.install_uuid = latest.install_uuid
            and touched.month = latest.month
    {%- endif %}
)

select * from final
