with

source as (
    select * from {{ raw_table('stripe', 'refunds') }}
),

final as (
    select
        {{ clean_text('id') }} as refund_id,
        {{ clean_text('balance_transaction') }} as balance_transaction,
        {{ clean_text('charge') }} as charge,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('description') }} as refund_description,
        {{ clean_text('failure_balance_transaction') }} as failure_balance_transaction,
        {{ clean_text('failure_reason') }} as failure_reason,
        {{ clean_text('payment_intent') }} as payment_intent,
        {{ clean_text('reason') }} as reason,
        {{ clean_text('receipt_number') }} as receipt_number,
        {{ clean_text('source_transfer_reversal') }} as source_transfer_reversal,
        {{ clean_text('status') }} as refund_status,
        {{ clean_text('transfer_reversal') }} as transfer_reversal,
        livemode as is_livemode,
        destination_details,
        next_action,
        metadata,
        amount,
        created,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
