with

source as (
    select * from {{ raw_table('stripe', 'disputes') }}
),

final as (
    select
        {{ clean_text('id') }} as dispute_id,
        {{ clean_text('charge') }} as charge,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('network_reason_code') }} as network_reason_code,
        {{ clean_text('payment_intent') }} as payment_intent,
        {{ clean_text('reason') }} as reason,
        {{ clean_text('status') }} as dispute_status,
        is_charge_refundable,
        livemode as is_livemode,
        balance_transactions,
        evidence_details,
        payment_method_details,
        metadata,
        amount,
        created,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
