with

source as (
    select * from {{ raw_table('stripe', 'payouts') }}
),

final as (
    select
        {{ clean_text('id') }} as payout_id,
        {{ clean_text('application_fee') }} as application_fee,
        {{ clean_text('balance_transaction') }} as balance_transaction,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('description') }} as payout_description,
        {{ clean_text('destination') }} as destination,
        {{ clean_text('failure_balance_transaction') }} as failure_balance_transaction,
        {{ clean_text('failure_code') }} as failure_code,
        {{ clean_text('failure_message') }} as failure_message,
        {{ clean_text('method') }} as method,
        {{ clean_text('original_payout') }} as original_payout,
        {{ clean_text('reconciliation_status') }} as reconciliation_status,
        {{ clean_text('reversed_by') }} as reversed_by,
        {{ clean_text('source_type') }} as source_type,
        {{ clean_text('statement_descriptor') }} as statement_descriptor,
        {{ clean_text('status') }} as payout_status,
        {{ clean_text('type') }} as payout_type,
        automatic as is_automatic,
        livemode as is_livemode,
        balance_transactions,
        metadata,
        amount,
        application_fee_amount,
        created,
        arrival_date as arrival_at,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
