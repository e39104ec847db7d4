{{ config(indexes=[{'columns': ['domain'], 'unique': True}]) }}

with

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

reverse_dns as (
    select * from {{ ref('stg_enrichment__reverse_dns_cache') }}
),

discoverorg as (
    select * from {{ ref('stg_enrichment__discoverorg_cache') }}
),

clearbit as (
    select * from {{ ref('stg_enrichment__clearbit_cache') }}
),

shared_domains as (
    select * from {{ ref('shared_domains') }}
),

excluded_companies as (
    select * from {{ ref('excluded_companies') }}
),

domains as (
    select clean_domain as domain
    from cleaned_hosts
    where host_kind = 'domain'

    union

    select clean_domain as domain
    from reverse_dns
    where outcome = 'hit'

    union

    select domain
    from discoverorg

    union

    select domain
    from clearbit
),

-- host.example.co.uk is below example.co.uk, co.uk and uk.
parents as (
    select
        domains.domain,
        array_to_string(labels.labels[position.position:], '.') as parent_domain
    from domains
    cross join lateral (select string_to_array(domains.domain, '.') as labels) as labels
    cross join
        lateral generate_series(1, cardinality(labels.labels)) as position (position)
    where domains.domain is not null
),

classed as (
    select
        parents.domain,
        min(shared_domains.domain_class) as shared_domain_class,
        bool_or(excluded_companies.value is not null) as is_excluded
    from parents
    left join shared_domains
        on parents.parent_domain = shared_domains.domain
    left join excluded_companies
        on
            parents.parent_domain = excluded_companies.value
            and excluded_companies.kind = 'domain'
    group by parents.domain
),

final as (
    select
        domain,
        case
            when is_excluded then 'excluded'
            else coalesce(shared_domain_class, 'company')
        end as domain_class
    from classed
)

select * from final
