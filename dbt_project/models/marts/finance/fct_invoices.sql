with

invoices as (
    select * from {{ ref('int_invoices__aged') }}
),

final as (
    select
        invoice_id,
        invoice_number,
        billing_account_id,
        account_id,
        billing_account_name,
        invoice_status,
        currency_code,
        is_posted,
        is_overdue,
        amount,
        tax_amount,
        payment_amount,
        refund_amount,
        balance,
        amount_reporting,
        balance_reporting,
        days_overdue,
        overdue_range,
        invoice_date,
        due_date,
        posted_at,
        created_at
    from invoices
)

select * from final
