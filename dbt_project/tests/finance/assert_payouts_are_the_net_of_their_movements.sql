{{ config(severity='warn', meta={'dagster': {'ref': {'name': 'fct_payouts'}}}) }}

-- Only where Stripe says that all of them are known.
select
    payout_id,
    amount,
    net_amount
from {{ ref('fct_payouts') }}
where
    is_automatic
    and reconciliation_status = 'completed'
    and amount <> coalesce(net_amount, 0)
