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
        {{ clean_text('name') }} as opportunity_name,
        {{ clean_text('stage_name') }} as stage_name,
        {{ clean_text('type') }} as opportunity_type,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text(mapped('opportunities', 'sales_qualified_source')) }} as sales_qualified_source,
        {{ clean_text(mapped('opportunities', 'sales_segment')) }} as sales_segment,
        {{ clean_text(mapped('opportunities', 'reason_for_loss')) }} as reason_for_loss,
        {{ clean_text(mapped('opportunities', 'currency_code')) }} as currency_code,
        coalesce(is_closed, false) as is_closed,
        coalesce(is_won, false) as is_won,
        probability as probability_percent,
        {{ mapped('opportunities', 'total_contract_value', 'numeric') }} as total_contract_value,
        {{ mapped('opportunities', 'incremental_acv', 'numeric') }} as incremental_acv,
        {{ mapped('opportunities', 'acv', 'numeric') }} as acv,
        close_date,
        {{ mapped('opportunities', 'sales_accepted_date', 'date') }} as sales_accepted_date,
        {{ mapped('opportunities', 'sales_qualified_date', 'date') }} as sales_qualified_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
