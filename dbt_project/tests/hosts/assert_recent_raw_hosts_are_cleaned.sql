{{
    config(
        severity='warn',
        meta={'dagster': {'ref': {'name': 'int_pings__recent'}}},
    )
}}
-- Pings whose host was not cleaned yet have no record.
select
    raw_host,
    count(*) as ping_count
from {{ ref('int_pings__recent') }}
where raw_host is not null and host_kind is null
group by raw_host
