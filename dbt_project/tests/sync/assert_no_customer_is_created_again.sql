{{ config(meta={'dagster': {'ref': {'name': 'sync_salesforce_new_accounts'}}}) }}
-- Neither a customer nor any other live account has the domain or the name of a new one.
with

new_accounts as (
    select
        meltano_id__c,
        {{ normalised_company_name('name') }} as normalised_name
    from {{ ref('sync_salesforce_new_accounts') }}
),

accounts as (
    select * from {{ ref('int_accounts__identified') }}
),

taken as (
    select
        account_id,
        'domain' as kind,
        account_domain as value
    from accounts

    union all

    select
        account_id,
        'domain' as kind,
        meltano_id as value
    from accounts

    union all

    select
        account_id,
        'name' as kind,
        normalised_name as value
    from accounts
),

wanted as (
    select
        meltano_id__c,
        'domain' as kind,
        meltano_id__c as value
    from new_accounts

    union all

    select
        meltano_id__c,
        'name' as kind,
        normalised_name as value
    from new_accounts
)

select
    wanted.meltano_id__c,
    taken.account_id,
    taken.kind
from wanted
inner join taken
    on wanted.kind = taken.kind and wanted.value = taken.value
