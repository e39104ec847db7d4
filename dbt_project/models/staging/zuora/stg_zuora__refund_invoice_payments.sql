with

source as (
    select * from {{ raw_table('zuora', 'refund_invoice_payments') }}
),

final as (
    select
        {{ clean_text('id') }} as refund_invoice_payment_id,
        {{ clean_text('refund_id') }} as refund_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('invoice_payment_id') }} as invoice_payment_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        refund_amount,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
