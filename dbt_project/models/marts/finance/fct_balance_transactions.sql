with

movements as (
    select * from {{ ref('stg_stripe__balance_transactions') }}
    where not is_deleted
),

payouts as (
    select * from {{ ref('stg_stripe__payouts') }}
    where not is_deleted
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

paid_out as (
    select
        payouts.payout_id,
        members.balance_transaction_id
    from payouts
    cross join
        lateral jsonb_array_elements_text(
            case
                when jsonb_typeof(payouts.balance_transactions) = 'array'
                    then payouts.balance_transactions
                else '[]'::jsonb
            end
        ) as members (balance_transaction_id)

    union

    -- Also of a payout that Stripe does not take apart, made by hand, its own movement is known.
    select
        payout_id,
        balance_transaction as balance_transaction_id
    from payouts
    where balance_transaction is not null
),

priced as (
    select
        movements.balance_transaction_id,
        paid_out.payout_id,
        movements.source as source_id,
        case
            when movements.reporting_category in ('charge', 'refund')
                then 'stripe ' || movements.source
        end as movement_key,
        movements.balance_transaction_type,
        movements.reporting_category,
        upper(coalesce(movements.currency, '{{ var("reporting_currency") }}')) as currency_code,
        {{ from_smallest_unit('movements.amount', 'movements.currency') }} as gross_amount,
        {{ from_smallest_unit('movements.fee', 'movements.currency') }} as fee_amount,
        {{ from_smallest_unit('movements.net', 'movements.currency') }} as net_amount,
        (movements.created at time zone 'UTC')::date as moved_date,
        (movements.available_at at time zone 'UTC')::date as available_date,
        movements.created as created_at
    from movements
    left join paid_out
        on movements.balance_transaction_id = paid_out.balance_transaction_id
),

final as (
    select
        priced.balance_transaction_id,
        priced.payout_id,
        priced.source_id,
        case when priced.reporting_category = 'charge' then priced.movement_key end as payment_id,
        case when priced.reporting_category = 'refund' then priced.movement_key end as refund_id,
        priced.balance_transaction_type,
        priced.reporting_category,
        priced.currency_code,
        priced.gross_amount,
        priced.fee_amount,
        priced.net_amount,
        priced.net_amount * rates.rate_to_reporting as net_amount_reporting,
        priced.moved_date,
        priced.available_date,
        priced.created_at
    from priced
    left join rates
        on {{ is_rate_of('priced.currency_code', 'priced.moved_date') }}
)

select * from final
