with

entries as (
    select * from {{ ref('fct_ledger_entries') }}
    where is_expense and transaction_month is not null
),

final as (
    select
        concat_ws(
            ' ',
            transaction_month,
            coalesce(top_department_name, 'none'),
            coalesce(department_name, 'none'),
            coalesce(account_name, 'none'),
            currency_code
        ) as expense_month_id,
        transaction_month as month_start_date,
        department_name,
        top_department_name,
        account_name,
        currency_code,
        count(*) as entry_count,
        sum(amount) as amount,
        sum(amount_reporting) as amount_reporting
    from entries
    group by transaction_month, department_name, top_department_name, account_name, currency_code
)

select * from final
