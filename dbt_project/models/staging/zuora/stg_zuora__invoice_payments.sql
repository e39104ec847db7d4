with

source as (
    select * from {{ raw_table('zuora', 'invoice_payments') }}
),

final as (
    select
        {{ clean_text('id') }} as invoice_payment_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('payment_id') }} as payment_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        amount,
        refund_amount,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
