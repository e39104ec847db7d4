with recursive

pinged as not materialized (
    select * from {{ ref('int_hosts__pinged') }}
),

hosts as (
    select distinct
        host_key,
        clean_domain
    from pinged
    where host_key is not null
),

links as (
    select distinct
        pinged.host_key,
        pinged.clean_domain,
        link.link
    from pinged
    cross join
        lateral (
            values ('host_id:' || pinged.host_id), ('uuid:' || pinged.install_uuid)
        ) as link (link)
    where pinged.host_key is not null and link.link is not null
),

-- A link on one host says nothing; one on very many is a copied image.
telling_links as (
    select link
    from links
    group by link
    having count(*) between 2 and {{ var('install_max_hosts') }}
),

-- Installs of two companies are never one, whatever their ids say.
edges as (
    select distinct
        links.host_key,
        other.host_key as other_host_key
    from links
    inner join telling_links
        on links.link = telling_links.link
    inner join links as other
        on
            links.link = other.link
            and links.host_key <> other.host_key
            and (
                links.clean_domain = other.clean_domain
                or links.clean_domain is null
                or other.clean_domain is null
            )
),

reached as (
    select
        host_key,
        host_key as reached_host_key
    from edges

    union

    select
        reached.host_key,
        edges.other_host_key as reached_host_key
    from reached
    inner join edges
        on reached.reached_host_key = edges.host_key
),

roots as (
    select
        host_key,
        min(reached_host_key collate "C") as install_id
    from reached
    group by host_key
),

final as (
    select
        hosts.host_key,
        coalesce(roots.install_id, hosts.host_key) as install_id,
        hosts.clean_domain
    from hosts
    left join roots
        on hosts.host_key = roots.host_key
)

select * from final
