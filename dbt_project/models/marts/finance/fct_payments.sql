with

payments as (
    select * from {{ ref('int_payments__unified') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

final as (
    select
        payments.payment_id,
        payments.source_payment_id,
        payments.billing_account_id,
        payments.account_id,
        payments.payment_source,
        payments.payment_number,
        payments.payment_method,
        payments.payment_status,
        payments.failure_code,
        payments.dispute_status,
        payments.currency_code,
        payments.is_successful,
        payments.refunded_amount > 0 as is_refunded,
        payments.dispute_status is not null as is_disputed,
        payments.amount,
        payments.refunded_amount,
        case when payments.is_successful then payments.amount - payments.refunded_amount else 0 end
            as net_amount,
        case
            when payments.is_successful
                then (payments.amount - payments.refunded_amount) * rates.rate_to_reporting
            else 0
        end as net_amount_reporting,
        payments.paid_date,
        date_trunc('month', payments.paid_date)::date as paid_month,
        payments.created_at
    from payments
    left join rates
        on {{ is_rate_of('payments.currency_code', 'payments.paid_date') }}
)

select * from final
