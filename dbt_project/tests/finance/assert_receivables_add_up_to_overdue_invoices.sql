{{ config(meta={'dagster': {'ref': {'name': 'agg_receivables_aging'}}}) }}

with

totals as (
    select
        (select coalesce(sum(balance), 0) from {{ ref('agg_receivables_aging') }}) as aged,
        (
            select coalesce(sum(balance), 0)
            from {{ ref('fct_invoices') }}
            where is_overdue
        ) as overdue
)

select *
from totals
where aged <> overdue
