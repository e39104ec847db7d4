with

source as (
    select * from {{ raw_table('salesforce', 'campaign_members') }}
),

final as (
    select
        {{ clean_text('id') }} as campaign_member_id,
        {{ clean_text('campaign_id') }} as campaign_id,
        {{ clean_text('lead_id') }} as lead_id,
        {{ clean_text('contact_id') }} as contact_id,
        {{ clean_text('lead_or_contact_id') }} as lead_or_contact_id,
        {{ clean_text('lead_or_contact_owner_id') }} as lead_or_contact_owner_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('status') }} as member_status,
        {{ clean_text('type') }} as campaign_member_type,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text('company_or_account') }} as company_or_account,
        {{ clean_text('title') }} as campaign_member_title,
        {{ clean_text('salutation') }} as salutation,
        {{ clean_text('city') }} as city,
        {{ clean_text('state') }} as campaign_member_state,
        {{ clean_text('country') }} as country,
        {{ clean_text('description') }} as campaign_member_description,
        coalesce(has_responded, false) as has_responded,
        coalesce(do_not_call, false) as is_do_not_call,
        coalesce(has_opted_out_of_email, false) as has_opted_out_of_email,
        coalesce(has_opted_out_of_fax, false) as has_opted_out_of_fax,
        first_responded_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
