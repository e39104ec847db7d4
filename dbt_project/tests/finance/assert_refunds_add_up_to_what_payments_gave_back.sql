{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'fct_refunds'}}}) }}

-- A refund that failed or was cancelled gives nothing back; one that is on its way does.
with

refunded as (
    select
        payment_id,
        sum(amount) as amount
    from {{ ref('fct_refunds') }}
    where lower(refund_status) not in ('failed', 'canceled', 'cancelled', 'error', 'voided')
    group by payment_id
)

select
    payments.payment_id,
    payments.refunded_amount as by_payment,
    refunded.amount as by_refunds
from {{ ref('fct_payments') }} as payments
left join refunded
    on payments.payment_id = refunded.payment_id
where payments.refunded_amount <> coalesce(refunded.amount, 0)
