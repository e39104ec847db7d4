with

organizations as (
    select * from {{ ref('stg_zendesk__organizations') }}
),

accounts as (
    select * from {{ ref('int_accounts__identified') }}
),

-- The vendor's own link between the two systems comes first.
by_id as (
    select
        organizations.organization_id,
        accounts.account_id
    from organizations
    inner join accounts
        on {{ salesforce_id18('organizations.external_id') }} = accounts.account_id
),

domains as (
    select
        organizations.organization_id,
        lower(domain.domain) as domain
    from organizations
    cross join
        lateral jsonb_array_elements_text(
            case
                when jsonb_typeof(organizations.domain_names) = 'array'
                    then organizations.domain_names
            end
        ) as domain (domain)
),

-- A domain of two accounts decides nothing.
by_domain as (
    select
        domains.organization_id,
        min(accounts.account_id) as account_id
    from domains
    inner join accounts
        on domains.domain = accounts.account_domain
    group by domains.organization_id
    having count(distinct accounts.account_id) = 1
),

final as (
    select
        organizations.organization_id,
        organizations.organization_name,
        coalesce(by_id.account_id, by_domain.account_id) as account_id,
        case
            when by_id.account_id is not null then 'external_id'
            when by_domain.account_id is not null then 'domain'
        end as match_method,
        organizations.is_deleted
    from organizations
    left join by_id
        on organizations.organization_id = by_id.organization_id
    left join by_domain
        on organizations.organization_id = by_domain.organization_id
)

select * from final
