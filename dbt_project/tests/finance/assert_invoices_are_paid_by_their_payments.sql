{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'fct_invoice_payments'}}}) }}

-- What an invoice says it was paid is what payments say they paid for it.
with

paid as (
    select
        invoice_key,
        sum(amount) as paid_amount
    from {{ ref('fct_invoice_payments') }}
    group by invoice_key
),

invoices as (
    select
        'zuora ' || invoice_id as invoice_key,
        payment_amount as paid_amount
    from {{ ref('fct_invoices') }}
    where is_posted

    union all

    select
        invoice_key,
        paid_amount
    from {{ ref('fct_self_serve_invoices') }}
    where not is_paid_out_of_band
)

select
    invoices.invoice_key,
    invoices.paid_amount as by_invoice,
    paid.paid_amount as by_payments
from invoices
left join paid
    on invoices.invoice_key = paid.invoice_key
where coalesce(invoices.paid_amount, 0) <> coalesce(paid.paid_amount, 0)
