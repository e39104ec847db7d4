with

source as (
    select * from {{ raw_table('zuora', 'refunds') }}
),

final as (
    select
        {{ clean_text('id') }} as refund_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('payment_method_id') }} as payment_method_id,
        {{ clean_text('reference_id') }} as reference_id,
        {{ clean_text('second_refund_reference_id') }} as second_refund_reference_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('refund_number') }} as refund_number,
        {{ clean_text('type') }} as refund_type,
        {{ clean_text('status') }} as refund_status,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('comment') }} as comment,
        {{ clean_text('gateway') }} as gateway,
        {{ clean_text('gateway_response') }} as gateway_response,
        {{ clean_text('gateway_response_code') }} as gateway_response_code,
        {{ clean_text('gateway_state') }} as gateway_state,
        {{ clean_text('method_type') }} as method_type,
        {{ clean_text('reason_code') }} as reason_code,
        {{ clean_text('soft_descriptor') }} as soft_descriptor,
        {{ clean_text('soft_descriptor_phone') }} as soft_descriptor_phone,
        {{ clean_text('source_type') }} as source_type,
        {{ clean_text('transferred_to_accounting') }} as transferred_to_accounting,
        amount,
        refund_date,
        cancelled_on as cancelled_at,
        marked_for_submission_on as marked_for_submission_at,
        refund_transaction_time as refund_transaction_at,
        settled_on as settled_at,
        submitted_on as submitted_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
