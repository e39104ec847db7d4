with

hosts as (
    select * from {{ ref('int_hosts__matched_to_accounts') }}
),

final as (
    select
        host_key as meltano_id__c,
        host_key as name,
        account_id as account__c,
        case when account_id is null then new_account_domain end as account_meltano_id,
        raw_host as original_hostname__c,
        active_user_count as host_users__c,
        installation_type as installation_type__c,
        (last_pinged_at at time zone 'UTC')::date as last_ping__c,
        usage_stats::text as raw_usage_stats__c,
        version_check_request as raw_version_stats__c,
        '{{ var("version_server_url") }}' || host_id as version_link__c,
        version as gitlab_version__c,
        edition as gitlab_edition__c,
        license_id::text as license_ids__c,
        is_mattermost_enabled as mattermost_enabled__c,
        company_source as host_data_source__c
    from hosts
    where account_id is not null or new_account_domain is not null
)

select * from final
