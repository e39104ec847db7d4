with

source as (
    select * from {{ raw_table('salesforce', 'hosts') }}
),

final as (
    select
        {{ clean_text('id') }} as salesforce_host_id,
        {{ clean_text('account__c') }} as account_id,
        {{ clean_text('meltano_id__c') }} as meltano_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('name') }} as host_name,
        {{ clean_text('original_hostname__c') }} as original_host_name,
        {{ clean_text('installation_type__c') }} as installation_type,
        {{ clean_text('raw_usage_stats__c') }} as raw_usage_stats,
        {{ clean_text('raw_version_stats__c') }} as raw_version_stats,
        {{ clean_text('version_link__c') }} as version_link,
        {{ clean_text('gitlab_version__c') }} as version,
        {{ clean_text('gitlab_edition__c') }} as edition,
        {{ clean_text('license_ids__c') }} as license_ids,
        {{ clean_text('host_data_source__c') }} as company_source,
        coalesce(mattermost_enabled__c, false) as is_mattermost_enabled,
        host_users__c as active_user_count,
        last_ping__c as last_ping_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
