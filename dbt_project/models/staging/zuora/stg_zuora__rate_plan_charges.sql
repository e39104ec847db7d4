with

source as (
    select * from {{ raw_table('zuora', 'rate_plan_charges') }}
),

final as (
    select
        {{ clean_text('id') }} as rate_plan_charge_id,
        {{ clean_text('rate_plan_id') }} as rate_plan_id,
        {{ clean_text('product_rate_plan_charge_id') }} as product_rate_plan_charge_id,
        {{ clean_text('original_id') }} as original_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as rate_plan_charge_name,
        {{ clean_text('charge_number') }} as charge_number,
        {{ clean_text('charge_model') }} as charge_model,
        {{ clean_text('charge_type') }} as charge_type,
        {{ clean_text('billing_period') }} as billing_period,
        {{ clean_text('billing_period_alignment') }} as billing_period_alignment,
        {{ clean_text('bill_cycle_type') }} as bill_cycle_type,
        {{ clean_text('accounting_code') }} as accounting_code,
        {{ clean_text('apply_discount_to') }} as apply_discount_to,
        {{ clean_text('description') }} as rate_plan_charge_description,
        {{ clean_text('discount_level') }} as discount_level,
        {{ clean_text('end_date_condition') }} as end_date_condition,
        {{ clean_text('list_price_base') }} as list_price_base,
        {{ clean_text('overage_calculation_option') }} as overage_calculation_option,
        {{ clean_text('overage_unused_units_credit_option') }} as overage_unused_units_credit_option,
        {{ clean_text('revenue_recognition_rule_name') }} as revenue_recognition_rule_name,
        {{ clean_text('rev_rec_code') }} as rev_rec_code,
        {{ clean_text('rev_rec_trigger_condition') }} as rev_rec_trigger_condition,
        {{ clean_text('trigger_event') }} as trigger_event,
        {{ clean_text('uom') }} as uom,
        {{ clean_text('up_to_periods_type') }} as up_to_periods_type,
        is_last_segment,
        segment,
        version,
        bill_cycle_day,
        number_of_periods,
        specific_billing_period,
        up_to_periods,
        mrr,
        dmrc,
        tcv,
        dtcv,
        quantity,
        effective_start_date,
        effective_end_date,
        charged_through_date,
        processed_through_date,
        specific_end_date,
        trigger_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
