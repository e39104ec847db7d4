with

source as (
    select * from {{ raw_table('salesforce', 'accounts') }}
),

final as (
    select
        {{ clean_text('id') }} as account_id,
        {{ clean_text('parent_id') }} as parent_account_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('record_type_id') }} as record_type_id,
        {{ clean_text(mapped('accounts', 'meltano_id')) }} as meltano_id,
        {{ clean_text('name') }} as account_name,
        {{ clean_text('type') }} as account_type,
        {{ clean_text('website') }} as website,
        {{ clean_text('industry') }} as industry,
        {{ clean_text('description') }} as account_description,
        {{ clean_text('phone') }} as phone,
        {{ clean_text('billing_country') }} as billing_country,
        {{ clean_text('account_source') }} as account_source,
        {{ clean_text(mapped('accounts', 'sales_segment')) }} as sales_segment,
        coalesce({{ mapped('accounts', 'is_using_ce', 'boolean') }}, false) as is_using_ce,
        number_of_employees as employee_count,
        {{ mapped('accounts', 'active_ce_user_count', 'numeric') }} as active_ce_user_count,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
