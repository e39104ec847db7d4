with

source as (
    select * from {{ raw_table('zuora', 'revenue_event_item_invoice_item_adjustments') }}
),

final as (
    select
        {{ clean_text('id') }} as revenue_event_item_invoice_item_adjustment_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('accounting_period_id') }} as accounting_period_id,
        {{ clean_text('amendment_id') }} as amendment_id,
        {{ clean_text('bill_to_contact_id') }} as bill_to_contact_id,
        {{ clean_text('default_payment_method_id') }} as default_payment_method_id,
        {{ clean_text('parent_account_id') }} as parent_account_id,
        {{ clean_text('product_id') }} as product_id,
        {{ clean_text('product_rate_plan_charge_id') }} as product_rate_plan_charge_id,
        {{ clean_text('product_rate_plan_id') }} as product_rate_plan_id,
        {{ clean_text('rate_plan_charge_id') }} as rate_plan_charge_id,
        {{ clean_text('rate_plan_id') }} as rate_plan_id,
        {{ clean_text('revenue_charge_summary_id') }} as revenue_charge_summary_id,
        {{ clean_text('sold_to_contact_id') }} as sold_to_contact_id,
        {{ clean_text('subscription_id') }} as subscription_id,
        {{ clean_text('deferred_revenue_accounting_code_id') }} as deferred_revenue_accounting_code_id,
        {{ clean_text('recognized_revenue_accounting_code_id') }} as recognized_revenue_accounting_code_id,
        {{ clean_text('journal_entry_id') }} as journal_entry_id,
        {{ clean_text('journal_run_id') }} as journal_run_id,
        {{ clean_text('revenue_event_type_id') }} as revenue_event_type_id,
        {{ clean_text('invoice_id') }} as invoice_id,
        {{ clean_text('invoice_item_id') }} as invoice_item_id,
        {{ clean_text('invoice_item_adjustment_id') }} as invoice_item_adjustment_id,
        {{ clean_text('revenue_event_invoice_item_adjustment_id') }} as revenue_event_invoice_item_adjustment_id,
        {{ clean_text('revenue_schedule_invoice_item_adjustment_id') }} as revenue_schedule_invoice_item_adjustment_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('currency') }} as currency,
        amount,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
