with

source as (
    select * from {{ raw_table('zuora', 'invoice_items') }}
),

final as (
    select
        {{ clean_text('id') }} as invoice_item_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('subscription_id') }} as subscription_id,
        {{ clean_text('rate_plan_charge_id') }} as rate_plan_charge_id,
        {{ clean_text('product_id') }} as product_id,
        {{ clean_text('accounting_period_id') }} as accounting_period_id,
        {{ clean_text('applied_to_invoice_item_id') }} as applied_to_invoice_item_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('charge_name') }} as charge_name,
        {{ clean_text('sku') }} as sku,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('processing_type') }} as processing_type,
        {{ clean_text('tax_code') }} as tax_code,
        {{ clean_text('tax_mode') }} as tax_mode,
        {{ clean_text('uom') }} as uom,
        charge_amount,
        quantity,
        unit_price,
        tax_amount,
        tax_exempt_amount,
        service_start_date,
        service_end_date,
        rev_rec_start_date,
        charge_date as charge_at,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
