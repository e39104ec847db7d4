with

hosts as (
    select * from {{ ref('sync_salesforce_hosts') }}
),

host_records as (
    select * from {{ ref('stg_salesforce__hosts') }}
    where not is_deleted
),

claimed as (
    select distinct on (hosts.meltano_id__c)
        host_records.salesforce_host_id as id,
        hosts.meltano_id__c
    from hosts
    inner join host_records
        on hosts.meltano_id__c = lower(host_records.host_name) and host_records.meltano_id is null
    left join host_records as ours
        on hosts.meltano_id__c = ours.meltano_id
    where ours.salesforce_host_id is null
    order by
        hosts.meltano_id__c,
        host_records.account_id is not distinct from hosts.account__c desc,
        host_records.modified_at desc nulls last,
        host_records.salesforce_host_id
),

final as (
    select
        id,
        meltano_id__c
    from claimed
)

select * from final
