with

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

-- WHOIS knows a name and nothing to fill in; an address may belong to a provider of the company.
known as (
    select
        matches.account_id,
        companies.company_domain,
        companies.industry,
        companies.company_description,
        companies.employee_count,
        companies.phone,
        matches.match_confidence,
        companies.company_source,
        companies.company_key
    from companies
    inner join matches
        on companies.company_key = matches.company_key
    where
        matches.account_id is not null
        and companies.company_source in ('DiscoverOrg', 'Clearbit')
        and not companies.is_address
),

-- An account that several domains lead to is described by the surest one.
chosen as (
    select distinct on (account_id) *
    from known
    order by
        account_id,
        match_confidence desc,
        company_source = 'DiscoverOrg' desc,
        company_key collate "C"
),

final as (
    select
        account_id as id,
        company_domain as website,
        industry,
        company_description as description,
        employee_count as numberofemployees,
        phone
    from chosen
)

select * from final
