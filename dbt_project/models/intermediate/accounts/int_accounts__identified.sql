{{ config(indexes=[{'columns': ['account_domain']}, {'columns': ['normalised_name']}]) }}

with

accounts as (
    select * from {{ ref('stg_salesforce__accounts') }}
),

known_domains as (
    select * from {{ ref('int_domains__known') }}
),

spelled_domains as (
    select * from {{ ref('int_domains__spelled') }}
),

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

-- People type müller.de, hosts say xn--mller-kva.de.
spellings as (
    select
        domain,
        domain as spelling
    from known_domains

    union all

    select
        domain,
        unicode_domain as spelling
    from spelled_domains
),

live_accounts as (
    select
        account_id,
        account_name,
        account_type,
        website,
        meltano_id,
        {{ website_host('website') }} as website_host,
        {{ normalised_company_name('account_name') }} as normalised_name
    from accounts
    where not is_deleted
),

-- A registrable domain that we know is the registrable domain of every name below it.
parents as (
    select
        live_accounts.account_id,
        array_to_string(labels.labels[position.position:], '.') as parent_domain
    from live_accounts
    cross join
        lateral (select string_to_array(live_accounts.website_host, '.') as labels) as labels
    cross join
        lateral generate_series(1, cardinality(labels.labels) - 1) as position (position)
    where live_accounts.website_host is not null
),

known as (
    select distinct on (parents.account_id)
        parents.account_id,
        spellings.domain
    from parents
    inner join spellings
        on parents.parent_domain = spellings.spelling
    order by parents.account_id, length(spellings.spelling) desc, spellings.domain collate "C"
),

final as (
    select
        live_accounts.account_id,
        live_accounts.account_name,
        live_accounts.account_type,
        live_accounts.website,
        live_accounts.website_host,
        coalesce(
            cleaned_hosts.clean_domain,
            known.domain,
            regexp_replace(live_accounts.website_host, '^www\d?\.', '')
        ) as account_domain,
        live_accounts.normalised_name,
        live_accounts.meltano_id,
        coalesce(live_accounts.account_type = 'Customer', false) as is_customer
    from live_accounts
    left join cleaned_hosts
        on live_accounts.website = cleaned_hosts.raw_host and cleaned_hosts.host_kind = 'domain'
    left join known
        on live_accounts.account_id = known.account_id
)

select * from final
