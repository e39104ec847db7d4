with

source as (
    select * from {{ raw_table('zuora', 'credit_balance_adjustments') }}
),

final as (
    select
        {{ clean_text('id') }} as credit_balance_adjustment_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('reference_id') }} as reference_id,
        {{ clean_text('source_transaction_id') }} as source_transaction_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('number') }} as credit_balance_adjustment_number,
        {{ clean_text('type') }} as credit_balance_adjustment_type,
        {{ clean_text('status') }} as credit_balance_adjustment_status,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('comment') }} as comment,
        {{ clean_text('reason_code') }} as reason_code,
        {{ clean_text('source_transaction_number') }} as source_transaction_number,
        {{ clean_text('source_transaction_type') }} as source_transaction_type,
        {{ clean_text('transferred_to_accounting') }} as transferred_to_accounting,
        amount,
        adjustment_date,
        cancelled_on as cancelled_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
