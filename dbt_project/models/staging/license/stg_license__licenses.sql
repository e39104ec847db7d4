with

source as (
    select * from {{ raw_table('license', 'licenses') }}
),

final as (
    select
        id as license_id,
        {{ clean_text('zuora_subscription_id') }} as zuora_subscription_id,
        {{ clean_text('recurly_subscription_id') }} as recurly_subscription_id,
        {{ clean_text('company') }} as company,
        {{ clean_text('plan_name') }} as plan_name,
        {{ clean_text('plan_code') }} as plan_code,
        trial as is_trial,
        users_count,
        previous_users_count,
        trueup_quantity,
        starts_at,
        expires_at,
        trueup_from,
        trueup_to,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
