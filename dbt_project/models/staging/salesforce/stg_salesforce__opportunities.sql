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
        {{ clean_text('name') }} as opportunity_name,
        {{ clean_text('stage_name') }} as stage_name,
        {{ clean_text('type') }} as opportunity_type,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text('sql_source__c') }} as sales_qualified_source,
        {{ clean_text('sales_segmentation__c') }} as sales_segment,
        {{ clean_text('reason_for_loss__c') }} as reason_for_loss,
        {{ clean_text('currency_iso_code') }} as currency_code,
        coalesce(is_closed, false) as is_closed,
        coalesce(is_won, false) as is_won,
        probability as probability_percent,
        amount as total_contract_value,
        incremental_acv__c as incremental_acv,
        acv__c as acv,
        close_date,
        sales_accepted_date__c as sales_accepted_date,
        sales_qualified_date__c as sales_qualified_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
