with

source as (
    select * from {{ raw_table('salesforce', 'zuora_subscriptions') }}
),

final as (
    select
        {{ clean_text('id') }} as zuora_subscription_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('billing_account_id__c') }} as billing_account_id,
        {{ clean_text('name') }} as zuora_subscription_name,
        {{ clean_text('parent_account__c') }} as parent_account,
        {{ clean_text('products_purchased__c') }} as products_purchased,
        {{ clean_text('salesforce_account__c') }} as salesforce_account,
        {{ clean_text('support_level__c') }} as support_level,
        {{ clean_text('zuora__account__c') }} as account_id,
        {{ clean_text('zuora__customeraccount__c') }} as zuora_customer_account_id,
        {{ clean_text('zuora__external_id__c') }} as external_id,
        {{ clean_text('zuora__initialterm__c') }} as initial_term,
        {{ clean_text('zuora__invoiceowner__c') }} as invoice_owner_zuora_customer_account_id,
        {{ clean_text('zuora__notes__c') }} as notes,
        {{ clean_text('zuora__renewalterm__c') }} as renewal_term,
        {{ clean_text('zuora__status__c') }} as zuora_subscription_status,
        {{ clean_text('zuora__subscriptionnumber__c') }} as subscription_number,
        {{ clean_text('zuora__termsettingtype__c') }} as term_setting_type,
        {{ clean_text('zuora__zuora_id__c') }} as zuora_id,
        zuora__autorenew__c as auto_renew,
        acv__c as acv,
        initial_term_calc__c as initial_term_calc,
        initial_term_numeric__c as initial_term_numeric,
        previous_mrr__c as previous_mrr,
        zuora__mrr__c as mrr,
        zuora__tcv__c as tcv,
        zuora__version__c as version,
        initial_start_date__c as initial_start_date,
        initial_subscription_start_date__c as initial_subscription_start_date,
        last_activity_date,
        term_start_month__c as term_start_month,
        zuora__contractacceptancedate__c as contract_acceptance_date,
        zuora__contracteffectivedate__c as contract_effective_date,
        zuora__nextchargedate__c as next_charge_date,
        zuora__nextrenewaldate__c as next_renewal_date,
        zuora__originalcreateddate__c as original_created_date,
        zuora__serviceactivationdate__c as service_activation_date,
        zuora__subscriptionenddate__c as subscription_end_date,
        zuora__subscriptionstartdate__c as subscription_start_date,
        zuora__termenddate__c as term_end_date,
        zuora__termstartdate__c as term_start_date,
        zuora__originalcreated_date__c as original_created_at,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
