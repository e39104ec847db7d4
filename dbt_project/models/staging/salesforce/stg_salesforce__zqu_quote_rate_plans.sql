with

source as (
    select * from {{ raw_table('salesforce', 'zqu_quote_rate_plans') }}
),

final as (
    select
        {{ clean_text('id') }} as zqu_quote_rate_plan_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as zqu_quote_rate_plan_name,
        {{ clean_text('zqu__amendmenttype__c') }} as amendment_type,
        {{ clean_text('zqu__entityid__c') }} as entity_id,
        {{ clean_text('zqu__originalprpoid__c') }} as original_prpo_id,
        {{ clean_text('zqu__parent__c') }} as parent,
        {{ clean_text('zqu__productrateplanzuoraid__c') }} as product_rate_plan_zuora_id,
        {{ clean_text('zqu__productrateplan__c') }} as zqu_product_rate_plan_id,
        {{ clean_text('zqu__product__c') }} as product_id,
        {{ clean_text('zqu__quoteamendment__c') }} as quote_amendment,
        {{ clean_text('zqu__quoteproductname__c') }} as quote_product_name,
        {{ clean_text('zqu__quoterateplanfullname__c') }} as quote_rate_plan_full_name,
        {{ clean_text('zqu__quoterateplanzuoraid__c') }} as quote_rate_plan_zuora_id,
        {{ clean_text('zqu__quote__c') }} as zqu_quote_id,
        {{ clean_text('zqu__rootqrpid__c') }} as root_qrp_id,
        {{ clean_text('zqu__subscriptionrateplanzuoraid__c') }} as subscription_rate_plan_zuora_id,
        {{ clean_text('zqu__time_product_added__c') }} as time_product_added,
        ticket_group_numeric__c as ticket_group_numeric,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
