{{ config(meta={'dagster': {'ref': {'name': 'dim_hosts'}}}) }}

with

hosts as (
    select distinct host_key
    from {{ ref('int_hosts__pinged') }}
    where host_key is not null
),

records as (
    select
        hosts.host_key,
        count(dim_hosts.host_key) as record_count
    from hosts
    left join {{ ref('int_installs__aligned') }} as installs
        on hosts.host_key = installs.host_key
    left join {{ ref('dim_hosts') }} as dim_hosts
        on installs.install_id = dim_hosts.install_id
    group by hosts.host_key
)

select *
from records
where record_count <> 1
