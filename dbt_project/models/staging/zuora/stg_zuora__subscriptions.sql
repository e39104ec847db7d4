with

source as (
    select * from {{ raw_table('zuora', 'subscriptions') }}
),

final as (
    select
        {{ clean_text('id') }} as subscription_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('invoice_owner_id') }} as invoice_owner_id,
        {{ clean_text('creator_account_id') }} as creator_account_id,
        {{ clean_text('creator_invoice_owner_id') }} as creator_invoice_owner_id,
        {{ clean_text('original_id') }} as original_id,
        {{ clean_text('previous_subscription_id') }} as previous_subscription_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as subscription_name,
        {{ clean_text('status') }} as subscription_status,
        {{ clean_text('term_type') }} as term_type,
        {{ clean_text('current_term_period_type') }} as current_term_period_type,
        {{ clean_text('initial_term_period_type') }} as initial_term_period_type,
        {{ clean_text('renewal_term_period_type') }} as renewal_term_period_type,
        {{ clean_text('renewal_setting') }} as renewal_setting,
        {{ clean_text('notes') }} as notes,
        {{ clean_text('clickthrougheularequired__c') }} as click_through_eula_required,
        {{ clean_text('cpqbundlejsonid__qt') }} as cpq_bundle_id,
        {{ clean_text('endcustomerdetails__c') }} as end_customer_details,
        {{ clean_text('exclude_from_renewal_report__c__c') }} as excluded_from_renewal_report,
        {{ clean_text('opportunityid__c') }} as opportunity_id,
        {{ clean_text('opportunityname__qt') }} as opportunity_name,
        {{ clean_text('purchase_order__c') }} as purchase_order,
        {{ clean_text('quotebusinesstype__qt') }} as quote_business_type,
        {{ clean_text('quotenumber__qt') }} as quote_number,
        {{ clean_text('quotetype__qt') }} as quote_type,
        {{ clean_text('recurlyid__c') }} as recurly_id,
        {{ clean_text('renewal_subscription__c__c') }} as renewal_subscription,
        auto_renew,
        is_invoice_separate,
        excludefromanalysis__c as is_excluded_from_analysis,
        version,
        current_term,
        initial_term,
        renewal_term,
        term_start_date,
        term_end_date,
        subscription_start_date,
        subscription_end_date,
        cancelled_date,
        contract_effective_date,
        contract_acceptance_date,
        service_activation_date,
        opportunityclosedate__qt as opportunity_close_date,
        original_created_date as original_created_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
