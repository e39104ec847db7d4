with

source as (
    select * from {{ raw_table('zuora', 'invoices') }}
),

final as (
    select
        {{ clean_text('id') }} as invoice_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('source_id') }} as source_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('invoice_number') }} as invoice_number,
        {{ clean_text('status') }} as invoice_status,
        {{ clean_text('source') }} as source,
        {{ clean_text('comments') }} as comments,
        {{ clean_text('posted_by') }} as posted_by,
        {{ clean_text('transferred_to_accounting') }} as transferred_to_accounting,
        includes_one_time,
        includes_recurring,
        includes_usage,
        amount,
        amount_without_tax,
        balance,
        tax_amount,
        tax_exempt_amount,
        adjustment_amount,
        credit_balance_adjustment_amount,
        payment_amount,
        refund_amount,
        invoice_date,
        due_date,
        target_date,
        last_email_sent_date,
        posted_date as posted_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
