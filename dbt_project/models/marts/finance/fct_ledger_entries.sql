with

transactions as (
    select * from {{ ref('int_transactions__posted') }}
),

expenses as (
    select * from {{ ref('stg_netsuite__expenses') }}
    where not is_deleted
),

journal_lines as (
    select * from {{ ref('stg_netsuite__transaction_lines') }}
    where not is_deleted
),

items as (
    select * from {{ ref('stg_netsuite__transaction_items') }}
    where not is_deleted
),

accounts as (
    select * from {{ ref('stg_netsuite__accounts') }}
),

departments as (
    select * from {{ ref('int_departments__rooted') }}
),

rates as (
    select * from {{ ref('int_exchange_rates__ranged') }}
),

-- Costs are positive, income is positive; a credit takes back what it credits.
lines as (
    select
        'expense ' || expense_id as ledger_entry_id,
        'expense' as line_kind,
        transaction_id,
        account_id,
        coalesce(account_name, category_name) as account_name,
        department_id,
        department_name,
        customer_name,
        memo,
        amount
    from expenses

    union all

    select
        'journal ' || transaction_line_id as ledger_entry_id,
        'journal' as line_kind,
        transaction_id,
        account_id,
        account_name,
        department_id,
        department_name,
        entity_name as customer_name,
        memo,
        coalesce(debit, 0) - coalesce(credit, 0) as amount
    from journal_lines

    union all

    select
        'item ' || transaction_item_id as ledger_entry_id,
        'item' as line_kind,
        transaction_id,
        null::bigint as account_id,
        null as account_name,
        department_id,
        department_name,
        customer_name,
        null as memo,
        amount
    from items
),

final as (
    select
        lines.ledger_entry_id,
        lines.transaction_id,
        lines.account_id,
        coalesce(lines.department_id, transactions.department_id) as department_id,
        lines.line_kind,
        transactions.transaction_type,
        transactions.transaction_number,
        coalesce(accounts.acct_name, lines.account_name) as account_name,
        accounts.acct_number as account_number,
        ltrim(accounts.acct_type, '_') as account_type,
        coalesce(departments.department_name, lines.department_name) as department_name,
        coalesce(
            departments.top_department_name, departments.department_name, lines.department_name
        ) as top_department_name,
        transactions.subsidiary_name,
        transactions.entity_name,
        lines.customer_name,
        coalesce(lines.memo, transactions.memo) as memo,
        transactions.posting_period_name,
        transactions.currency_code,
        -- Journals say themselves which side an account is on.
        case
            when lines.line_kind = 'expense' then true
            when lines.line_kind = 'journal'
                then coalesce(
                    ltrim(accounts.acct_type, '_') in (
                        'expense', 'otherExpense', 'costOfGoodsSold'
                    ),
                    false
                )
            else transactions.transaction_type in ('VendorBill', 'VendorCredit', 'Check')
        end as is_expense,
        case
            when transactions.transaction_type in ('VendorCredit', 'CreditMemo', 'CashRefund')
                then -lines.amount
            else lines.amount
        end as amount,
        case
            when transactions.transaction_type in ('VendorCredit', 'CreditMemo', 'CashRefund')
                then -lines.amount
            else lines.amount
        end * transactions.exchange_rate as amount_base,
        case
            when transactions.transaction_type in ('VendorCredit', 'CreditMemo', 'CashRefund')
                then -lines.amount
            else lines.amount
        end * rates.rate_to_reporting as amount_reporting,
        transactions.transaction_date,
        date_trunc('month', transactions.transaction_date)::date as transaction_month
    from lines
    inner join transactions
        on lines.transaction_id = transactions.transaction_id
    left join accounts
        on lines.account_id = accounts.account_id
    left join departments
        on coalesce(lines.department_id, transactions.department_id) = departments.department_id
    left join rates
        on {{ is_rate_of('transactions.currency_code', 'transactions.transaction_date') }}
)

select * from final
