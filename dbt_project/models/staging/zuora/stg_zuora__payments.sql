with

source as (
    select * from {{ raw_table('zuora', 'payments') }}
),

final as (
    select
        {{ clean_text('id') }} as payment_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('auth_transaction_id') }} as auth_transaction_id,
        {{ clean_text('gateway_order_id') }} as gateway_order_id,
        {{ clean_text('payment_method_id') }} as payment_method_id,
        {{ clean_text('payment_method_snapshot_id') }} as payment_method_snapshot_id,
        {{ clean_text('reference_id') }} as reference_id,
        {{ clean_text('second_payment_reference_id') }} as second_payment_reference_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('payment_number') }} as payment_number,
        {{ clean_text('type') }} as payment_type,
        {{ clean_text('status') }} as payment_status,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('bank_identification_number') }} as bank_identification_number,
        {{ clean_text('comment') }} as comment,
        {{ clean_text('gateway_response') }} as gateway_response,
        {{ clean_text('gateway_response_code') }} as gateway_response_code,
        {{ clean_text('gateway_state') }} as gateway_state,
        {{ clean_text('soft_descriptor') }} as soft_descriptor,
        {{ clean_text('soft_descriptor_phone') }} as soft_descriptor_phone,
        {{ clean_text('source') }} as source,
        {{ clean_text('source_name') }} as source_name,
        {{ clean_text('transferred_to_accounting') }} as transferred_to_accounting,
        amount,
        applied_credit_balance_amount,
        refund_amount,
        effective_date,
        cancelled_on as cancelled_at,
        marked_for_submission_on as marked_for_submission_at,
        settled_on as settled_at,
        submitted_on as submitted_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
