with

invoices as (
    select * from {{ ref('fct_invoices') }}
    where is_overdue
),

final as (
    select
        billing_account_id || ' ' || currency_code || ' ' || overdue_range as receivable_id,
        billing_account_id,
        account_id,
        billing_account_name,
        currency_code,
        overdue_range,
        count(*) as invoice_count,
        string_agg(invoice_number, ', ' order by due_date, invoice_number) as invoice_numbers,
        sum(balance) as balance,
        sum(balance_reporting) as balance_reporting,
        min(due_date) as oldest_due_date
    from invoices
    group by billing_account_id, account_id, billing_account_name, currency_code, overdue_range
)

select * from final
