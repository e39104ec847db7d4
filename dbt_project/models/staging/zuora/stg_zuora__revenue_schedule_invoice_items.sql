with

source as (
    select * from {{ raw_table('zuora', 'revenue_schedule_invoice_items') }}
),

final as (
    select
        {{ clean_text('id') }} as revenue_schedule_invoice_item_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('invoice_item_id') }} as invoice_item_id,
        {{ clean_text('reference_id') }} as reference_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('number') }} as revenue_schedule_invoice_item_number,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('finance_transaction_type') }} as finance_transaction_type,
        {{ clean_text('rule') }} as rule,
        {{ clean_text('transaction_number') }} as transaction_number,
        amount,
        undistributed_amount,
        exchange_rate_date,
        recognition_period_start,
        recognition_period_end,
        revenue_schedule_date,
        transaction_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
