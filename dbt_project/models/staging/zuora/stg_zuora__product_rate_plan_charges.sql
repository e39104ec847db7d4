with

source as (
    select * from {{ raw_table('zuora', 'product_rate_plan_charges') }}
),

final as (
    select
        {{ clean_text('id') }} as product_rate_plan_charge_id,
        {{ clean_text('product_rate_plan_id') }} as product_rate_plan_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as product_rate_plan_charge_name,
        {{ clean_text('charge_model') }} as charge_model,
        {{ clean_text('charge_type') }} as charge_type,
        {{ clean_text('billing_period') }} as billing_period,
        {{ clean_text('billing_period_alignment') }} as billing_period_alignment,
        {{ clean_text('bill_cycle_type') }} as bill_cycle_type,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('apply_discount_to') }} as apply_discount_to,
        {{ clean_text('deferred_revenue_account') }} as deferred_revenue_account,
        {{ clean_text('description') }} as product_rate_plan_charge_description,
        {{ clean_text('discount_level') }} as discount_level,
        {{ clean_text('legacy_revenue_reporting') }} as legacy_revenue_reporting,
        {{ clean_text('list_price_base') }} as list_price_base,
        {{ clean_text('overage_calculation_option') }} as overage_calculation_option,
        {{ clean_text('overage_unused_units_credit_option') }} as overage_unused_units_credit_option,
        {{ clean_text('price_change_option') }} as price_change_option,
        {{ clean_text('recognized_revenue_account') }} as recognized_revenue_account,
        {{ clean_text('revenue_recognition_rule_name') }} as revenue_recognition_rule_name,
        {{ clean_text('rev_rec_code') }} as rev_rec_code,
        {{ clean_text('rev_rec_trigger_condition') }} as rev_rec_trigger_condition,
        {{ clean_text('smoothing_model') }} as smoothing_model,
        {{ clean_text('tax_code') }} as tax_code,
        {{ clean_text('tax_mode') }} as tax_mode,
        {{ clean_text('trigger_event') }} as trigger_event,
        {{ clean_text('uom') }} as uom,
        taxable as is_taxable,
        use_discount_specific_accounting_code as is_use_discount_specific_accounting_code,
        use_tenant_default_for_price_change as is_use_tenant_default_for_price_change,
        bill_cycle_day,
        number_of_period,
        specific_billing_period,
        up_to_periods,
        default_quantity,
        included_units,
        max_quantity,
        min_quantity,
        price_increase_percentage,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
