with

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

accounts as (
    select * from {{ ref('int_accounts__identified') }}
),

by_domain as (
    select
        companies.company_key,
        accounts.account_id
    from companies
    inner join accounts
        on companies.company_domain = accounts.account_domain
    where companies.domain_class = 'company' and not companies.is_excluded_name
),

-- Made by the sync from this very domain, whatever its website says now.
by_meltano_id as (
    select
        companies.company_key,
        accounts.account_id
    from companies
    inner join accounts
        on companies.company_key = accounts.meltano_id
),

by_name as (
    select
        companies.company_key,
        accounts.account_id
    from companies
    inner join accounts
        on companies.normalised_name = accounts.normalised_name
    where companies.domain_class <> 'excluded' and not companies.is_excluded_name
),

found as (
    select
        company_key,
        account_id,
        true as is_own,
        false as has_same_domain,
        false as has_same_name
    from by_meltano_id

    union all

    select
        company_key,
        account_id,
        false as is_own,
        true as has_same_domain,
        false as has_same_name
    from by_domain

    union all

    select
        company_key,
        account_id,
        false as is_own,
        false as has_same_domain,
        true as has_same_name
    from by_name
),

candidates as (
    select
        company_key,
        account_id,
        bool_or(is_own) as is_own,
        bool_or(has_same_domain) as has_same_domain,
        bool_or(has_same_name) as has_same_name
    from found
    group by company_key, account_id
),

final as (
    select
        candidates.company_key,
        candidates.account_id,
        candidates.is_own,
        candidates.has_same_domain,
        candidates.has_same_name,
        accounts.account_domain is not null
        and accounts.account_domain is distinct from companies.company_domain as has_other_website,
        accounts.is_customer
    from candidates
    inner join accounts
        on candidates.account_id = accounts.account_id
    inner join companies
        on candidates.company_key = companies.company_key
)

select * from final
