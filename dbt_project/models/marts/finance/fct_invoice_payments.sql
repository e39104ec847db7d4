with

payments as (
    select * from {{ ref('int_payments__unified') }}
    where is_successful
),

applied as (
    select * from {{ ref('stg_zuora__invoice_payments') }}
    where not is_deleted
),

charges as (
    select * from {{ ref('stg_stripe__charges') }}
    where invoice is not null and not is_deleted
),

final as (
    select
        'zuora ' || applied.invoice_payment_id as invoice_payment_id,
        payments.payment_id,
        'zuora ' || applied.invoice_id as invoice_key,
        payments.payment_source,
        applied.invoice_id as source_invoice_id,
        payments.currency_code,
        applied.amount,
        coalesce(applied.refund_amount, 0) as refunded_amount,
        payments.paid_date
    from applied
    inner join payments
        on
            applied.payment_id = payments.source_payment_id
            and payments.payment_source = 'zuora'

    union all

    select
        payments.payment_id as invoice_payment_id,
        payments.payment_id,
        'stripe ' || charges.invoice as invoice_key,
        payments.payment_source,
        charges.invoice as source_invoice_id,
        payments.currency_code,
        payments.amount,
        payments.refunded_amount,
        payments.paid_date
    from charges
    inner join payments
        on
            charges.charge_id = payments.source_payment_id
            and payments.payment_source = 'stripe'
)

select * from final
