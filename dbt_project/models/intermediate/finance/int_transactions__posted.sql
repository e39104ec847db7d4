with

transactions as (
    select * from {{ ref('stg_netsuite__transactions') }}
),

currencies as (
    select * from {{ ref('stg_netsuite__currencies') }}
),

subsidiaries as (
    select * from {{ ref('stg_netsuite__subsidiaries') }}
),

-- Orders, estimates and requisitions promise money, what waits for approval asks for it.
final as (
    select
        transactions.transaction_id,
        transactions.transaction_type,
        coalesce(
            transactions.tran_id, transactions.transaction_number
        ) as transaction_number,
        transactions.entity_name,
        transactions.subsidiary_name,
        transactions.department_id,
        transactions.posting_period_name,
        -- Expense reports have no currency of their own: they are paid out by the subsidiary.
        coalesce(
            currencies.symbol,
            transactions.currency_name,
            base_currencies.symbol,
            '{{ var("reporting_currency") }}'
        ) as currency_code,
        transactions.memo,
        coalesce(transactions.exchange_rate, 1) as exchange_rate,
        transactions.tran_date as transaction_date
    from transactions
    left join currencies
        on transactions.currency_ref_id = currencies.currency_id
    left join subsidiaries
        on transactions.subsidiary_id = subsidiaries.subsidiary_id
    left join currencies as base_currencies
        on subsidiaries.currency = base_currencies.currency_id::text
    where
        not transactions.is_deleted
        and coalesce(transactions.approval_status_name, 'Approved') = 'Approved'
        and coalesce(transactions.transaction_type, 'Unknown') not in (
            'PurchaseOrder', 'SalesOrder', 'Estimate', 'Opportunity', 'PurchaseRequisition',
            'TransferOrder', 'WorkOrder', 'ReturnAuthorization', 'VendorReturnAuthorization',
            'StatisticalJournalEntry', 'ItemReceipt', 'ItemFulfillment', 'BinTransfer',
            'BinWorksheet'
        )
)

select * from final
