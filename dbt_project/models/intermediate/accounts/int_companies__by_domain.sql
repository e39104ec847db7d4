{{ config(indexes=[{'columns': ['company_key'], 'unique': True}, {'columns': ['normalised_name']}]) }}

with

known_domains as (
    select * from {{ ref('int_domains__known') }}
),

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

whois as (
    select * from {{ ref('stg_enrichment__whois_cache') }}
),

excluded_companies as (
    select
        {{ normalised_company_name('value') }} as normalised_name
    from {{ ref('excluded_companies') }}
    where kind = 'name'
),

addresses as (
    select distinct clean_full_domain as address
    from cleaned_hosts
    where host_kind in ('ipv4', 'ipv6')
),

-- What a host is looked up by: its registrable domain; for an address the domain it resolves to.
keys as (
    select
        domain as company_key,
        domain as company_domain,
        false as is_address
    from known_domains

    union all

    select
        addresses.address as company_key,
        reverse_dns.clean_domain as company_domain,
        true as is_address
    from addresses
    left join reverse_dns
        on addresses.address = reverse_dns.ip and reverse_dns.outcome = 'hit'
),

-- A shared or excluded domain says nothing of who runs the host.
classed as (
    select
        keys.company_key,
        keys.company_domain,
        keys.is_address,
        known_domains.domain_class,
        case
            when known_domains.domain_class = 'company' then keys.company_domain
        end as lookup_domain
    from keys
    left join known_domains
        on keys.company_domain = known_domains.domain
),

answered as (
    select
        classed.company_key,
        classed.company_domain,
        classed.is_address,
        classed.domain_class,
        case
            when discoverorg.domain is not null then 'DiscoverOrg'
            when clearbit.domain is not null then 'Clearbit'
            when whois.domain is not null then 'WHOIS'
        end as company_source,
        discoverorg.domain is not null as has_discoverorg,
        discoverorg.company_name as discoverorg_name,
        discoverorg.company_domain as discoverorg_domain,
        discoverorg.company_industry as discoverorg_industry,
        discoverorg.company_description as discoverorg_description,
        discoverorg.company_employees as discoverorg_employees,
        discoverorg.company_phone as discoverorg_phone,
        clearbit.company_name as clearbit_name,
        clearbit.company_domain as clearbit_domain,
        clearbit.company_industry as clearbit_industry,
        clearbit.company_description as clearbit_description,
        clearbit.company_employees as clearbit_employees,
        clearbit.company_phone as clearbit_phone,
        whois.network_name as whois_name
    from classed
    left join discoverorg
        on
            classed.lookup_domain = discoverorg.domain
            and discoverorg.outcome = 'hit'
            and discoverorg.company_name is not null
    left join clearbit
        on
            classed.lookup_domain = clearbit.domain
            and clearbit.outcome = 'hit'
            and clearbit.company_name is not null
    left join whois
        on
            case
                when classed.is_address then classed.company_key else classed.lookup_domain
            end = whois.domain
            and whois.outcome = 'hit'
            and whois.network_name is not null
),

-- The first provider that knows the company names it; gaps are filled by the next one.
merged as (
    select
        company_key,
        company_domain,
        is_address,
        domain_class,
        company_source,
        coalesce(discoverorg_name, clearbit_name, whois_name) as company_name,
        lower(coalesce(discoverorg_domain, clearbit_domain)) as provider_domain,
        coalesce(discoverorg_industry, clearbit_industry) as industry,
        coalesce(discoverorg_description, clearbit_description) as company_description,
        coalesce(discoverorg_phone, clearbit_phone) as phone,
        case
            when discoverorg_industry is not null then 'DiscoverOrg'
            when clearbit_industry is not null then 'Clearbit'
        end as industry_source,
        case
            when discoverorg_description is not null then 'DiscoverOrg'
            when clearbit_description is not null then 'Clearbit'
        end as company_description_source,
        case
            when discoverorg_phone is not null then 'DiscoverOrg'
            when clearbit_phone is not null then 'Clearbit'
        end as phone_source,
        case
            when discoverorg_employees is not null then 'DiscoverOrg'
            when clearbit_employees is not null then 'Clearbit'
        end as employee_count_source,
        {{ whole_number('coalesce(discoverorg_employees, clearbit_employees)') }} as employee_count
    from answered
),

named as (
    select
        *,
        {{ normalised_company_name('company_name') }} as normalised_name
    from merged
),

final as (
    select
        named.company_key,
        named.company_domain,
        named.is_address,
        case
            when named.domain_class is not null then named.domain_class
            else 'address'
        end as domain_class,
        named.company_source,
        named.company_name,
        named.normalised_name,
        named.provider_domain,
        named.industry,
        named.company_description,
        named.phone,
        named.employee_count,
        named.industry_source,
        named.company_description_source,
        named.phone_source,
        case when named.employee_count is not null then named.employee_count_source end
            as employee_count_source,
        exists (
            select 1
            from excluded_companies
            where excluded_companies.normalised_name = named.normalised_name
        ) as is_excluded_name
    from named
)

select * from final
