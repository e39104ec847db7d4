with

zuora_payments as (
    select * from {{ ref('stg_zuora__payments') }}
    where not is_deleted
),

zuora_accounts as (
    select * from {{ ref('stg_zuora__accounts') }}
),

charges as (
    select * from {{ ref('stg_stripe__charges') }}
    where not is_deleted
),

customers as (
    select * from {{ ref('stg_stripe__customers') }}
),

disputes as (
    select distinct on (charge)
        charge,
        dispute_status
    from {{ ref('stg_stripe__disputes') }}
    where charge is not null and not is_deleted
    order by charge, created desc nulls last, dispute_id
),

-- What customers agreed to and what the card paid: one list, whoever took the money.
final as (
    select
        'zuora ' || zuora_payments.payment_id as payment_id,
        'zuora' as payment_source,
        zuora_payments.payment_id as source_payment_id,
        zuora_payments.account_id as billing_account_id,
        {{ salesforce_id18('zuora_accounts.crm_id') }} as account_id,
        zuora_payments.payment_number,
        zuora_payments.payment_type as payment_method,
        zuora_payments.payment_status,
        null::text as failure_code,
        null::text as dispute_status,
        coalesce(zuora_accounts.currency, '{{ var("reporting_currency") }}') as currency_code,
        coalesce(zuora_payments.payment_status = 'Processed', false) as is_successful,
        zuora_payments.amount,
        coalesce(zuora_payments.refund_amount, 0) as refunded_amount,
        coalesce(
            zuora_payments.effective_date,
            (zuora_payments.created_at at time zone 'UTC')::date
        ) as paid_date,
        zuora_payments.created_at
    from zuora_payments
    left join zuora_accounts
        on zuora_payments.account_id = zuora_accounts.account_id

    union all

    select
        'stripe ' || charges.charge_id as payment_id,
        'stripe' as payment_source,
        charges.charge_id as source_payment_id,
        charges.customer as billing_account_id,
        {{ salesforce_id18("(customers.metadata ->> 'salesforce_account_id')") }} as account_id,
        charges.receipt_number as payment_number,
        charges.payment_method_details ->> 'type' as payment_method,
        charges.charge_status as payment_status,
        charges.failure_code,
        disputes.dispute_status,
        upper(coalesce(charges.currency, '{{ var("reporting_currency") }}')) as currency_code,
        -- An authorisation that nobody captured has taken no money.
        coalesce(
            charges.charge_status = 'succeeded' and charges.is_captured, false
        ) as is_successful,
        {{ from_smallest_unit(
            'case when charges.is_captured then charges.amount_captured else charges.amount end',
            'charges.currency'
        ) }} as amount,
        {{ from_smallest_unit('coalesce(charges.amount_refunded, 0)', 'charges.currency') }}
            as refunded_amount,
        (charges.created at time zone 'UTC')::date as paid_date,
        charges.created as created_at
    from charges
    left join customers
        on charges.customer = customers.customer_id
    left join disputes
        on charges.charge_id = disputes.charge
)

select * from final
