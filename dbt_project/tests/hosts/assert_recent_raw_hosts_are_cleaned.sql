{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'int_hosts__pinged'}}},
    )
}}
-- Pings whose host was not cleaned yet have no record.
select
    raw_host,
    sum(ping_count) as ping_count
from {{ ref('int_hosts__pinged') }}
where raw_host is not null and host_kind is null
group by raw_host
