with

zuora_refunds as (
    select * from {{ ref('stg_zuora__refunds') }}
    where not is_deleted
),

zuora_accounts as (
    select * from {{ ref('stg_zuora__accounts') }}
),

refunded_invoices as (
    select * from {{ ref('stg_zuora__refund_invoice_payments') }}
    where not is_deleted
),

invoice_payments as (
    select * from {{ ref('stg_zuora__invoice_payments') }}
    where not is_deleted
),

stripe_refunds as (
    select * from {{ ref('stg_stripe__refunds') }}
    where not is_deleted
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

-- A refund of one payment may come back over several invoices.
refunded_payments as (
    select
        refunded_invoices.refund_id,
        min(invoice_payments.payment_id) as payment_id
    from refunded_invoices
    inner join invoice_payments
        on refunded_invoices.invoice_payment_id = invoice_payments.invoice_payment_id
    group by refunded_invoices.refund_id
),

unified as (
    select
        'zuora ' || zuora_refunds.refund_id as refund_id,
        'zuora ' || refunded_payments.payment_id as payment_id,
        'zuora' as refund_source,
        zuora_refunds.reason_code as refund_reason,
        zuora_refunds.refund_status,
        coalesce(zuora_accounts.currency, '{{ var("reporting_currency") }}') as currency_code,
        coalesce(zuora_refunds.refund_status = 'Processed', false) as is_successful,
        zuora_refunds.amount,
        zuora_refunds.refund_date,
        zuora_refunds.created_at
    from zuora_refunds
    left join zuora_accounts
        on zuora_refunds.account_id = zuora_accounts.account_id
    left join refunded_payments
        on zuora_refunds.refund_id = refunded_payments.refund_id

    union all

    select
        'stripe ' || refund_id as refund_id,
        'stripe ' || charge as payment_id,
        'stripe' as refund_source,
        reason as refund_reason,
        refund_status,
        upper(coalesce(currency, '{{ var("reporting_currency") }}')) as currency_code,
        coalesce(refund_status = 'succeeded', false) as is_successful,
        {{ from_smallest_unit('amount', 'currency') }} as amount,
        (created at time zone 'UTC')::date as refund_date,
        created as created_at
    from stripe_refunds
),

final as (
    select
        unified.refund_id,
        unified.payment_id,
        unified.refund_source,
        unified.refund_reason,
        unified.refund_status,
        unified.currency_code,
        unified.is_successful,
        unified.amount,
        unified.amount * rates.rate_to_reporting as amount_reporting,
        unified.refund_date,
        unified.created_at
    from unified
    left join rates
        on {{ is_rate_of('unified.currency_code', 'unified.refund_date') }}
)

select * from final
