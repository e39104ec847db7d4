{{ config(meta={'dagster': {'ref': {'name': 'sync_salesforce_hosts'}}}) }}

select meltano_id__c
from {{ ref('sync_salesforce_hosts') }}
where (account__c is null) = (account_meltano_id is null)
