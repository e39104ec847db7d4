with

source as (
    select * from {{ raw_table('salesforce', 'zqu_product_rate_plans') }}
),

final as (
    select
        {{ clean_text('id') }} as zqu_product_rate_plan_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as zqu_product_rate_plan_name,
        {{ clean_text('zqu__activecurrencies__c') }} as active_currencies,
        {{ clean_text('zqu__catalog_sync_history__c') }} as catalog_sync_history,
        {{ clean_text('zqu__description__c') }} as zqu_product_rate_plan_description,
        {{ clean_text('zqu__effectiveenddatetext__c') }} as effective_end_date_text,
        {{ clean_text('zqu__effectivestartdatetext__c') }} as effective_start_date_text,
        {{ clean_text('zqu__entityid__c') }} as entity_id,
        {{ clean_text('zqu__price_summary__c') }} as price_summary,
        {{ clean_text('zqu__productrateplanfullname__c') }} as product_rate_plan_full_name,
        {{ clean_text('zqu__product__c') }} as product_id,
        {{ clean_text('zqu__syncmessage__c') }} as sync_message,
        {{ clean_text('zqu__syncstatus__c') }} as sync_status,
        {{ clean_text('zqu__zproduct__c') }} as zqu_product_id,
        {{ clean_text('zqu__zuoraid__c') }} as zuora_id,
        zqu__default__c as zqu_product_rate_plan_default,
        zqu__deleted__c as is_deleted_in_zuora,
        zqu__effectiveenddate__c as effective_end_date,
        zqu__effectivestartdate__c as effective_start_date,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
