with

source as (
    select * from {{ raw_table('zuora', 'invoice_item_adjustments') }}
),

final as (
    select
        {{ clean_text('id') }} as invoice_item_adjustment_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('source_id') }} as source_id,
        {{ clean_text('reference_id') }} as reference_id,
        {{ clean_text('cancelled_by_id') }} as cancelled_by_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('adjustment_number') }} as adjustment_number,
        {{ clean_text('invoice_number') }} as invoice_number,
        {{ clean_text('invoice_item_name') }} as invoice_item_name,
        {{ clean_text('source_type') }} as source_type,
        {{ clean_text('type') }} as invoice_item_adjustment_type,
        {{ clean_text('status') }} as invoice_item_adjustment_status,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('reason_code') }} as reason_code,
        {{ clean_text('comment') }} as comment,
        {{ clean_text('transferred_to_accounting') }} as transferred_to_accounting,
        amount,
        adjustment_date,
        service_start_date,
        service_end_date,
        cancelled_date as cancelled_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
