with

source as (
    select * from {{ raw_table('zuora', 'amendments') }}
),

final as (
    select
        {{ clean_text('id') }} as amendment_id,
        {{ clean_text('subscription_id') }} as subscription_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as amendment_name,
        {{ clean_text('code') }} as amendment_code,
        {{ clean_text('type') }} as amendment_type,
        {{ clean_text('status') }} as amendment_status,
        {{ clean_text('description') }} as amendment_description,
        {{ clean_text('renewal_setting') }} as renewal_setting,
        {{ clean_text('term_type') }} as term_type,
        auto_renew,
        current_term,
        renewal_term,
        contract_effective_date,
        customer_acceptance_date,
        effective_date,
        service_activation_date,
        term_start_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
