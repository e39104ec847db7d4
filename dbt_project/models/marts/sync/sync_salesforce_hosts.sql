-- Two pings for each host by their keys: at the price of disks that turn, all pings would be read.
{{ config(pre_hook="set local random_page_cost = 1.1") }}

with

hosts as (
    select * from {{ ref('int_hosts__matched_to_accounts') }}
    where account_id is not null or new_account_domain is not null
),

usage_pings as (
    select
        usage_ping_id,
        stats
    from {{ ref('stg_version__usage_data') }}
    where not is_deleted
),

version_checks as (
    select
        version_check_id,
        request_data
    from {{ ref('stg_version__version_checks') }}
    where not is_deleted
),

final as (
    select
        hosts.host_key as meltano_id__c,
        hosts.host_key as name,
        hosts.account_id as account__c,
        case when hosts.account_id is null then hosts.new_account_domain end as account_meltano_id,
        hosts.raw_host as original_hostname__c,
        hosts.active_user_count as host_users__c,
        hosts.installation_type as installation_type__c,
        (hosts.last_pinged_at at time zone 'UTC')::date as last_ping__c,
        usage_pings.stats::text as raw_usage_stats__c,
        {{ without_credentials('version_checks.request_data') }} as raw_version_stats__c,
        '{{ var("version_server_url") }}' || hosts.host_id as version_link__c,
        hosts.version as gitlab_version__c,
        hosts.edition as gitlab_edition__c,
        hosts.license_id::text as license_ids__c,
        hosts.is_mattermost_enabled as mattermost_enabled__c,
        hosts.company_source as host_data_source__c
    from hosts
    left join usage_pings
        on
            hosts.source_ping_number = usage_pings.usage_ping_id
            and hosts.source_ping_kind = 'usage_ping'
    left join version_checks
        on hosts.latest_version_check_id = version_checks.version_check_id
)

select * from final
