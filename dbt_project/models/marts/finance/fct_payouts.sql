with

payouts as (
    select * from {{ ref('stg_stripe__payouts') }}
    where not is_deleted
),

movements as (
    select * from {{ ref('fct_balance_transactions') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

-- A payout's own movement takes out what the others brought in.
made_of as (
    select
        payout_id,
        count(*) as movement_count,
        sum(gross_amount) as gross_amount,
        sum(case when reporting_category = 'charge' then gross_amount else 0 end)
            as charged_amount,
        sum(case when reporting_category = 'refund' then gross_amount else 0 end)
            as refunded_amount,
        sum(case when reporting_category like 'dispute%' then gross_amount else 0 end)
            as disputed_amount,
        sum(fee_amount) as fee_amount,
        sum(net_amount) as net_amount
    from movements
    where payout_id is not null and balance_transaction_type <> 'payout'
    group by payout_id
),

priced as (
    select
        payouts.payout_id,
        payouts.payout_status,
        payouts.reconciliation_status,
        payouts.failure_code,
        coalesce(payouts.is_automatic, false) as is_automatic,
        coalesce(payouts.payout_status = 'paid', false) as is_paid,
        upper(coalesce(payouts.currency, '{{ var("reporting_currency") }}')) as currency_code,
        {{ from_smallest_unit('payouts.amount', 'payouts.currency') }} as amount,
        coalesce(made_of.movement_count, 0) as movement_count,
        made_of.gross_amount,
        made_of.charged_amount,
        made_of.refunded_amount,
        made_of.disputed_amount,
        made_of.fee_amount,
        made_of.net_amount,
        (payouts.arrival_at at time zone 'UTC')::date as arrival_date,
        payouts.created as created_at
    from payouts
    left join made_of
        on payouts.payout_id = made_of.payout_id
),

final as (
    select
        priced.payout_id,
        priced.payout_status,
        priced.reconciliation_status,
        priced.failure_code,
        priced.is_automatic,
        priced.is_paid,
        priced.currency_code,
        priced.movement_count,
        priced.gross_amount,
        priced.charged_amount,
        priced.refunded_amount,
        priced.disputed_amount,
        priced.fee_amount,
        priced.net_amount,
        priced.amount,
        case when priced.is_paid then priced.amount else 0 end as arrived_amount,
        case when priced.is_paid then priced.amount * rates.rate_to_reporting else 0 end
            as arrived_amount_reporting,
        priced.arrival_date,
        date_trunc('month', priced.arrival_date)::date as arrival_month,
        priced.created_at
    from priced
    left join rates
        on {{ is_rate_of('priced.currency_code', 'priced.arrival_date') }}
)

select * from final
