with

invoices as (
    select * from {{ ref('stg_stripe__invoices') }}
    where not is_deleted
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

priced as (
    select
        invoice_id,
        'stripe ' || invoice_id as invoice_key,
        customer as customer_id,
        subscription as subscription_id,
        invoice_number,
        invoice_status,
        billing_reason,
        upper(coalesce(currency, '{{ var("reporting_currency") }}')) as currency_code,
        coalesce(is_paid, false) as is_paid,
        coalesce(is_paid_out_of_band, false) as is_paid_out_of_band,
        attempt_count::bigint as attempt_count,
        {{ from_smallest_unit('total', 'currency') }} as amount,
        {{ from_smallest_unit('amount_paid', 'currency') }} as paid_amount,
        {{ from_smallest_unit('amount_remaining', 'currency') }} as balance,
        (created at time zone 'UTC')::date as invoice_date,
        (due_at at time zone 'UTC')::date as due_date,
        created as created_at
    from invoices
),

final as (
    select
        priced.invoice_id,
        priced.invoice_key,
        priced.customer_id,
        priced.subscription_id,
        priced.invoice_number,
        priced.invoice_status,
        priced.billing_reason,
        priced.currency_code,
        priced.is_paid,
        priced.is_paid_out_of_band,
        priced.attempt_count,
        priced.amount,
        priced.paid_amount,
        priced.balance,
        priced.amount * rates.rate_to_reporting as amount_reporting,
        priced.invoice_date,
        priced.due_date,
        priced.created_at
    from priced
    left join rates
        on {{ is_rate_of('priced.currency_code', 'priced.invoice_date') }}
)

select * from final
