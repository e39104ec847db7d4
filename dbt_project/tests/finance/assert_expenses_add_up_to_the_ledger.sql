{{ config(meta={'dagster': {'ref': {'name': 'agg_expenses_monthly'}}}) }}

with

totals as (
    select
        (select coalesce(sum(amount), 0) from {{ ref('agg_expenses_monthly') }}) as by_month,
        (
            select coalesce(sum(amount), 0)
            from {{ ref('fct_ledger_entries') }}
            where is_expense and transaction_month is not null
        ) as by_entry
)

select *
from totals
where by_month <> by_entry
