with

source as (
    select * from {{ raw_table('zuora', 'accounts') }}
),

final as (
    select
        {{ clean_text('id') }} as account_id,
        {{ clean_text('crm_id') }} as crm_id,
        {{ clean_text('parent_id') }} as parent_id,
        {{ clean_text('bill_to_contact_id') }} as bill_to_contact_id,
        {{ clean_text('sold_to_contact_id') }} as sold_to_contact_id,
        {{ clean_text('communication_profile_id') }} as communication_profile_id,
        {{ clean_text('default_payment_method_id') }} as default_payment_method_id,
        {{ clean_text('invoice_template_id') }} as invoice_template_id,
        {{ clean_text('tax_exempt_certificate_id') }} as tax_exempt_certificate_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as account_name,
        {{ clean_text('account_number') }} as account_number,
        {{ clean_text('status') }} as account_status,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('batch') }} as batch,
        {{ clean_text('customer_service_rep_name') }} as customer_service_rep_name,
        {{ clean_text('sales_rep_name') }} as sales_rep_name,
        {{ clean_text('notes') }} as notes,
        {{ clean_text('payment_gateway') }} as payment_gateway,
        {{ clean_text('payment_term') }} as payment_term,
        {{ clean_text('purchase_order_number') }} as purchase_order_number,
        {{ clean_text('tax_exempt_certificate_type') }} as tax_exempt_certificate_type,
        {{ clean_text('accountcode__c') }} as account_code,
        {{ clean_text('conversionrate__c') }} as conversion_rate,
        {{ clean_text('entity__c') }} as entity,
        {{ clean_text('parent__c') }} as parent,
        {{ clean_text('additional_email_addresses') }} as additional_email_addresses,
        allow_invoice_edit,
        auto_pay,
        invoice_delivery_prefs_email as is_invoice_delivery_prefs_email,
        invoice_delivery_prefs_print as is_invoice_delivery_prefs_print,
        bill_cycle_day,
        balance,
        credit_balance,
        mrr,
        total_invoice_balance,
        last_invoice_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
