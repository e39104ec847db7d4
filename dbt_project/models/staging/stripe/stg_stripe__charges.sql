with

source as (
    select * from {{ raw_table('stripe', 'charges') }}
),

final as (
    select
        {{ clean_text('id') }} as charge_id,
        {{ clean_text('application') }} as application,
        {{ clean_text('application_fee') }} as application_fee,
        {{ clean_text('balance_transaction') }} as balance_transaction,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('customer') }} as customer,
        {{ clean_text('description') }} as charge_description,
        {{ clean_text('destination') }} as destination,
        {{ clean_text('dispute') }} as dispute,
        {{ clean_text('failure_balance_transaction') }} as failure_balance_transaction,
        {{ clean_text('failure_code') }} as failure_code,
        {{ clean_text('failure_message') }} as failure_message,
        {{ clean_text('invoice') }} as invoice,
        {{ clean_text('on_behalf_of') }} as on_behalf_of,
        {{ clean_text('"order"') }} as charge_order,
        {{ clean_text('payment_intent') }} as payment_intent,
        {{ clean_text('payment_method') }} as payment_method,
        {{ clean_text('receipt_number') }} as receipt_number,
        {{ clean_text('review') }} as review,
        {{ clean_text('source_transfer') }} as source_transfer,
        {{ clean_text('statement_descriptor') }} as statement_descriptor,
        {{ clean_text('statement_descriptor_suffix') }} as statement_descriptor_suffix,
        {{ clean_text('status') }} as charge_status,
        {{ clean_text('transfer') }} as transfer,
        {{ clean_text('transfer_group') }} as transfer_group,
        {{ clean_text('receipt_email') }} as receipt_email,
        captured as is_captured,
        disputed as is_disputed,
        paid as is_paid,
        refunded as is_refunded,
        livemode as is_livemode,
        fraud_details,
        outcome,
        payment_method_details,
        refunds,
        transfer_data,
        metadata,
        billing_details,
        shipping,
        amount,
        amount_captured,
        amount_refunded,
        application_fee_amount,
        created,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
