{{ config(meta={'dagster': {'ref': {'name': 'sync_salesforce_new_accounts'}}}) }}
-- Shared, excluded and unknown domains never become accounts.
select
    new_accounts.meltano_id__c,
    domains.domain_class
from {{ ref('sync_salesforce_new_accounts') }} as new_accounts
left join {{ ref('int_domains__known') }} as domains
    on new_accounts.meltano_id__c = domains.domain
where domains.domain_class is distinct from 'company'
