with

source as (
    select * from {{ raw_table('salesforce', 'zqu_products') }}
),

final as (
    select
        {{ clean_text('id') }} as zqu_product_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('name') }} as zqu_product_name,
        {{ clean_text('zqu__category__c') }} as zqu_product_category,
        {{ clean_text('zqu__currency__c') }} as currency,
        {{ clean_text('zqu__description__c') }} as zqu_product_description,
        {{ clean_text('zqu__effectiveenddatetext__c') }} as effective_end_date_text,
        {{ clean_text('zqu__effectivestartdatetext__c') }} as effective_start_date_text,
        {{ clean_text('zqu__product__c') }} as product_id,
        {{ clean_text('zqu__sku__c') }} as sku,
        {{ clean_text('zqu__zuoraid__c') }} as zuora_id,
        zqu__active__c as is_active,
        zqu__allow_feature_changes__c as allow_feature_changes,
        zqu__deleted__c as is_deleted_in_zuora,
        zqu__effectiveenddate__c as effective_end_date,
        zqu__effectivestartdate__c as effective_start_date,
        last_referenced_date as last_referenced_at,
        last_viewed_date as last_viewed_at,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
