-- Built anew in each run: one pass over the pings is quicker than keeping a copy of them current.
-- Small groups of millions of rows: in memory, and shared out to workers. The planner knows no
-- window, takes a third of the pings to lie in it, and would leave the workers out.
{{ config(pre_hook="set local work_mem = '256MB'; set local parallel_tuple_cost = 0.001") }}

with

usage_pings as not materialized (
    select * from {{ ref('stg_version__usage_data') }}
    where not is_deleted
),

version_checks as not materialized (
    select * from {{ ref('stg_version__version_checks') }}
    where not is_deleted
),

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

as_of as materialized (
    {% if var('as_of') -%}
        select '{{ var("as_of") }}'::timestamptz as as_of
    {%- else -%}
        -- A clock ahead of ours must not push the window away from the other pings.
        select
            least(
                greatest(
                    (select max(updated_at) from usage_pings),
                    (select max(updated_at) from version_checks)
                ),
                now()
            ) as as_of
    {%- endif %}
),

counted_usage_pings as (
    select
        raw_host,
        host_id,
        install_uuid,
        count(*) as ping_count,
        min(updated_at) as first_pinged_at,
        max(updated_at) as last_pinged_at
    from usage_pings
    where {{ is_in_ping_window('updated_at') }}
    group by raw_host, host_id, install_uuid
),

counted_version_checks as (
    select
        raw_host,
        host_id,
        count(*) as ping_count,
        min(updated_at) as first_pinged_at,
        max(updated_at) as last_pinged_at
    from version_checks
    where {{ is_in_ping_window('updated_at') }}
    group by raw_host, host_id
),

counted as (
    select
        'usage_ping' as ping_kind,
        raw_host,
        host_id,
        install_uuid,
        ping_count,
        first_pinged_at,
        last_pinged_at
    from counted_usage_pings

    union all

    select
        'version_check' as ping_kind,
        raw_host,
        host_id,
        null as install_uuid,
        ping_count,
        first_pinged_at,
        last_pinged_at
    from counted_version_checks
),

final as (
    select
        counted.ping_kind,
        counted.raw_host,
        counted.host_id,
        counted.install_uuid,
        cleaned_hosts.host_kind,
        -- What names the host: the full domain or the address. Null: nothing that can be named.
        case
            when cleaned_hosts.host_kind in ('domain', 'ipv4', 'ipv6')
                then cleaned_hosts.clean_full_domain
        end as host_key,
        case
            when cleaned_hosts.host_kind = 'domain' then cleaned_hosts.clean_domain
        end as clean_domain,
        counted.ping_count,
        counted.first_pinged_at,
        counted.last_pinged_at
    from counted
    left join cleaned_hosts
        on counted.raw_host = cleaned_hosts.raw_host
)

select * from final
