with

source as (
    select * from {{ raw_table('salesforce', 'zqu_product_rate_plan_charge_tiers') }}
),

final as (
    select
        {{ clean_text('id') }} as zqu_product_rate_plan_charge_tier_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as zqu_product_rate_plan_charge_tier_name,
        {{ clean_text('zqu__catalog_sync_history__c') }} as catalog_sync_history,
        {{ clean_text('zqu__currency2__c') }} as currency2,
        {{ clean_text('zqu__currency__c') }} as currency,
        {{ clean_text('zqu__entityid__c') }} as entity_id,
        {{ clean_text('zqu__priceformat2__c') }} as price_format2,
        {{ clean_text('zqu__priceformat__c') }} as price_format,
        {{ clean_text('zqu__productrateplanchargeid__c') }} as product_rate_plan_charge_id,
        {{ clean_text('zqu__productrateplancharge__c') }} as zqu_product_rate_plan_charge_id,
        {{ clean_text('zqu__syncmessage__c') }} as sync_message,
        {{ clean_text('zqu__syncstatus__c') }} as sync_status,
        {{ clean_text('zqu__zuoraid__c') }} as zuora_id,
        zqu__active__c as is_active,
        zqu__deleted__c as is_deleted_in_zuora,
        zqu__isoverageprice__c as is_overage_price,
        zqu__discountamount__c as discount_amount,
        zqu__discountpercentage__c as discount_percentage,
        zqu__endingunit__c as ending_unit,
        zqu__price__c as price,
        zqu__startingunit__c as starting_unit,
        zqu__tier__c as tier,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
