with

source as (
    select * from {{ raw_table('salesforce', 'zuora_products') }}
),

final as (
    select
        {{ clean_text('id') }} as zuora_product_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('name') }} as zuora_product_name,
        {{ clean_text('zuora__description__c') }} as zuora_product_description,
        {{ clean_text('zuora__external_id__c') }} as external_id,
        {{ clean_text('zuora__sku__c') }} as sku,
        zuora__effectiveenddate__c as effective_end_date,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
