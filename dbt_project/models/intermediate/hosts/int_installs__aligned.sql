with recursive

pinged as materialized (
    select distinct
        host_key,
        clean_domain,
        host_id,
        install_uuid
    from {{ ref('int_hosts__pinged') }}
    where host_key is not null
),

hosts as (
    select distinct
        host_key,
        clean_domain
    from pinged
),

links as (
    select
        host_key,
        clean_domain,
        'host_id:' || host_id as link
    from pinged
    where host_id is not null

    union

    select
        host_key,
        clean_domain,
        'uuid:' || install_uuid as link
    from pinged
    where install_uuid is not null
),

-- A link on one host says nothing; one on very many is a copied image.
telling_links as (
    select link
    from links
    group by link
    having count(*) between 2 and {{ var('install_max_hosts') }}
),

linked as materialized (
    select links.*
    from links
    inner join telling_links
        on links.link = telling_links.link
),

-- Installs of two companies are never one, whatever their ids say.
edges as (
    select distinct
        linked.host_key,
        other.host_key as other_host_key
    from linked
    inner join linked as other
        on
            linked.link = other.link
            and linked.host_key <> other.host_key
            and (
                linked.clean_domain = other.clean_domain
                or linked.clean_domain is null
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
