with

accounts as (
    select * from {{ ref('int_accounts__to_create') }}
),

final as (
    select
        account_domain as meltano_id__c,
        company_name as name,
        account_domain as website,
        case when is_using_ce then 'Prospect - CE User' else 'Prospect' end as type,
        case when is_using_ce then 'CE Download' end as accountsource,
        nullif('{{ var("new_account_owner_id") }}', '') as ownerid,
        is_using_ce as using_ce__c,
        active_ce_user_count as active_ce_users__c,
        industry,
        company_description as description,
        employee_count as numberofemployees,
        phone
    from accounts
    where is_account_domain
)

select * from final
