with

installs as (
    select * from {{ ref('int_installs__recorded') }}
),

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

new_accounts as (
    select * from {{ ref('int_accounts__to_create') }}
),

final as (
    select
        installs.host_key,
        installs.install_id,
        installs.host_kind,
        installs.clean_domain,
        installs.raw_host,
        installs.source_ping_kind,
        installs.source_ping_number,
        installs.host_id,
        installs.install_uuid,
        installs.license_id,
        installs.version,
        installs.version_order,
        installs.edition,
        installs.installation_type,
        installs.is_mattermost_enabled,
        installs.active_user_count,
        installs.latest_version_check_id,
        installs.usage_ping_count,
        installs.version_check_count,
        installs.host_name_count,
        installs.first_pinged_at,
        installs.last_pinged_at,
        companies.company_name,
        companies.company_source,
        companies.domain_class,
        matches.account_id,
        matches.match_method,
        matches.match_confidence,
        coalesce(matches.match_status, 'unmatched') as match_status,
        new_accounts.account_domain as new_account_domain
    from installs
    left join companies
        on coalesce(installs.clean_domain, installs.host_key) = companies.company_key
    left join matches
        on companies.company_key = matches.company_key
    left join new_accounts
        on companies.company_key = new_accounts.company_key
)

select * from final
