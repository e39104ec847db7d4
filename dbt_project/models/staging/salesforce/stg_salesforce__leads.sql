with

source as (
    select * from {{ raw_table('salesforce', 'leads') }}
),

final as (
    select
        {{ clean_text('id') }} as lead_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('owner_type') }} as owner_type,
        {{ clean_text('converted_account_id') }} as converted_account_id,
        {{ clean_text('converted_contact_id') }} as converted_contact_id,
        {{ clean_text('converted_opportunity_id') }} as converted_opportunity_id,
        {{ clean_text('first_name') }} as first_name,
        {{ clean_text('last_name') }} as last_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('company') }} as company_name,
        {{ clean_text('title') }} as title,
        {{ clean_text('status') }} as lead_status,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text('industry') }} as industry,
        {{ clean_text('website') }} as website,
        coalesce(is_converted, false) as is_converted,
        converted_date,
        {{ mapped('leads', 'marketing_qualified_date', 'date') }} as marketing_qualified_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
