with

pinged as (
    select * from {{ ref('int_hosts__pinged') }}
    where host_key is not null
),

installs as (
    select * from {{ ref('int_installs__aligned') }}
),

final as (
    select
        installs.install_id,
        pinged.ping_kind,
        pinged.raw_host,
        pinged.host_id,
        pinged.install_uuid,
        pinged.host_kind,
        pinged.host_key,
        pinged.clean_domain,
        pinged.ping_count,
        pinged.first_pinged_at,
        pinged.last_pinged_at,
        pinged.last_pinged_at = max(pinged.last_pinged_at) over (
            partition by installs.install_id, pinged.ping_kind
        ) as is_latest
    from pinged
    inner join installs
        on pinged.host_key = installs.host_key
)

select * from final
