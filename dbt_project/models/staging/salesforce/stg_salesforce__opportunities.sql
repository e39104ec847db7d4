with

source as (
    select * from {{ raw_table('salesforce', 'opportunities') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('campaign_id') }} as campaign_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('record_type_id') }} as record_type_id,
        {{ clean_text('pricebook2_id') }} as pricebook2_id,
        {{ clean_text('synced_quote_id') }} as synced_quote_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as opportunity_name,
        {{ clean_text('stage_name') }} as stage_name,
        {{ clean_text('type') }} as opportunity_type,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text(mapped('opportunities', 'sales_qualified_source')) }} as sales_qualified_source,
        {{ clean_text(mapped('opportunities', 'sales_segment')) }} as sales_segment,
        {{ clean_text(mapped('opportunities', 'reason_for_loss')) }} as reason_for_loss,
        {{ clean_text(mapped('opportunities', 'currency_code')) }} as currency_code,
        {{ clean_text('description') }} as opportunity_description,
        {{ clean_text('next_step') }} as next_step,
        {{ clean_text('forecast_category') }} as forecast_category,
        {{ clean_text('forecast_category_name') }} as forecast_category_name,
        {{ clean_text('fiscal') }} as fiscal,
        coalesce(is_closed, false) as is_closed,
        coalesce(is_won, false) as is_won,
        coalesce(has_opportunity_line_item, false) as has_opportunity_line_item,
        coalesce(has_open_activity, false) as has_open_activity,
        coalesce(has_overdue_task, false) as has_overdue_task,
        probability as probability_percent,
        {{ mapped('opportunities', 'total_contract_value', 'numeric') }} as total_contract_value,
        {{ mapped('opportunities', 'incremental_acv', 'numeric') }} as incremental_acv,
        {{ mapped('opportunities', 'acv', 'numeric') }} as acv,
        fiscal_year,
        fiscal_quarter,
        expected_revenue,
        close_date,
        {{ mapped('opportunities', 'sales_accepted_date', 'date') }} as sales_accepted_date,
        {{ mapped('opportunities', 'sales_qualified_date', 'date') }} as sales_qualified_date,
        last_activity_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        last_viewed_date as last_viewed_at,
        last_referenced_date as last_referenced_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
