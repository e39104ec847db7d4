with

source as (
    select * from {{ raw_table('salesforce', 'contacts') }}
),

final as (
    select
        {{ clean_text('id') }} as contact_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('first_name') }} as first_name,
        {{ clean_text('last_name') }} as last_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('title') }} as title,
        {{ clean_text('lead_source') }} as lead_source,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
