with

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

installs as (
    select * from {{ ref('int_installs__recorded') }}
),

accounts as (
    select * from {{ ref('stg_salesforce__accounts') }}
),

install_counts as (
    select
        clean_domain,
        count(*) as install_count,
        bool_or(edition = 'CE') as is_using_ce,
        sum(active_user_count) filter (where edition = 'CE') as active_ce_user_count
    from installs
    where clean_domain is not null
    group by clean_domain
),

-- Made by us once and deleted by a person: that decision stands.
rejected as (
    select distinct meltano_id
    from accounts
    where is_deleted and meltano_id is not null
),

eligible as (
    select
        companies.company_key,
        companies.company_name,
        companies.normalised_name,
        companies.company_source,
        companies.industry,
        companies.company_description,
        companies.phone,
        companies.employee_count,
        install_counts.install_count,
        install_counts.is_using_ce,
        install_counts.active_ce_user_count,
        -- One company under several domains becomes one account, under its own domain if seen.
        first_value(companies.company_key) over (
            partition by companies.normalised_name
            order by
                companies.company_key is not distinct from companies.provider_domain desc,
                install_counts.install_count desc,
                companies.company_key collate "C"
        ) as account_domain
    from companies
    inner join install_counts
        on companies.company_key = install_counts.clean_domain
    inner join matches
        on companies.company_key = matches.company_key
    left join rejected
        on companies.company_key = rejected.meltano_id
    where
        companies.domain_class = 'company'
        and not companies.is_address
        and companies.normalised_name is not null
        and matches.match_status = 'unmatched'
        and rejected.meltano_id is null
),

totals as (
    select
        account_domain,
        sum(install_count)::bigint as install_count,
        coalesce(bool_or(is_using_ce), false) as is_using_ce,
        sum(active_ce_user_count)::bigint as active_ce_user_count
    from eligible
    group by account_domain
),

final as (
    select
        eligible.company_key,
        eligible.account_domain,
        eligible.company_key = eligible.account_domain as is_account_domain,
        eligible.company_name,
        eligible.company_source,
        eligible.industry,
        eligible.company_description,
        eligible.phone,
        eligible.employee_count,
        totals.install_count,
        totals.is_using_ce,
        totals.active_ce_user_count
    from eligible
    inner join totals
        on eligible.account_domain = totals.account_domain
)

select * from final
