with

invoices as (
    select * from {{ ref('stg_zuora__invoices') }}
    where not is_deleted
),

accounts as (
    select * from {{ ref('stg_zuora__accounts') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

today as (
    {{ today_of(ref('stg_zuora__invoices'), 'updated_at') }}
),

dated as (
    select
        invoices.*,
        {{ salesforce_id18('accounts.crm_id') }} as salesforce_account_id,
        accounts.account_name as billing_account_name,
        coalesce(accounts.currency, '{{ var("reporting_currency") }}') as currency_code,
        coalesce(invoices.invoice_status = 'Posted', false) as is_posted,
        greatest(today.today - invoices.due_date, 0) as days_overdue
    from invoices
    cross join today
    left join accounts
        on invoices.account_id = accounts.account_id
),

final as (
    select
        dated.invoice_id,
        dated.invoice_number,
        dated.account_id as billing_account_id,
        dated.billing_account_name,
        dated.salesforce_account_id as account_id,
        dated.invoice_status,
        dated.currency_code,
        dated.is_posted,
        -- A draft is not owed, a credit is nobody's debt.
        dated.is_posted and dated.balance > 0 and dated.days_overdue > 0 as is_overdue,
        dated.amount,
        dated.tax_amount,
        dated.payment_amount,
        dated.refund_amount,
        dated.balance,
        rates.rate_to_reporting,
        dated.amount * rates.rate_to_reporting as amount_reporting,
        dated.balance * rates.rate_to_reporting as balance_reporting,
        dated.days_overdue,
        case
            when dated.days_overdue < 30 then '1: under 30'
            when dated.days_overdue <= 60 then '2: 30 to 60'
            when dated.days_overdue <= 90 then '3: 61 to 90'
            else '4: over 90'
        end as overdue_range,
        dated.invoice_date,
        dated.due_date,
        dated.posted_at,
        dated.created_at
    from dated
    left join rates
        on {{ is_rate_of('dated.currency_code', 'dated.invoice_date') }}
)

select * from final
