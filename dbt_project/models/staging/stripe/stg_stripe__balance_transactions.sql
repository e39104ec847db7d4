with

source as (
    select * from {{ raw_table('stripe', 'balance_transactions') }}
),

final as (
    select
        {{ clean_text('id') }} as balance_transaction_id,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('description') }} as balance_transaction_description,
        {{ clean_text('reporting_category') }} as reporting_category,
        {{ clean_text('source') }} as source,
        {{ clean_text('status') }} as balance_transaction_status,
        {{ clean_text('type') }} as balance_transaction_type,
        fee_details,
        amount,
        fee,
        net,
        exchange_rate,
        created,
        available_on as available_at,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
