with

source as (
    select * from {{ raw_table('customers', 'customers') }}
),

final as (
    select
        id as customer_id,
        {{ clean_text('zuora_account_id') }} as zuora_account_id,
        {{ clean_text('salesforce_account_id') }} as salesforce_account_id,
        billable as is_billable,
        sign_in_count,
        current_sign_in_at,
        last_sign_in_at,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
