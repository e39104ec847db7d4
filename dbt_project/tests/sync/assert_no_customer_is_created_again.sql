{{ config(meta={'dagster': {'ref': {'name': 'sync_salesforce_new_accounts'}}}) }}
-- Neither a customer nor any other live account has the domain or the name of a new one.
with

new_accounts as (
    select
        meltano_id__c,
        {{ normalised_company_name('name') }} as normalised_name
    from {{ ref('sync_salesforce_new_accounts') }}
)

select
    new_accounts.meltano_id__c,
    accounts.account_id,
    accounts.is_customer
from new_accounts
inner join {{ ref('int_accounts__identified') }} as accounts
    on
        new_accounts.meltano_id__c = accounts.account_domain
        or new_accounts.meltano_id__c = accounts.meltano_id
        or new_accounts.normalised_name = accounts.normalised_name
