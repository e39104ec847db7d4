with

source as (
    select * from {{ raw_table('salesforce', 'contacts') }}
),

final as (
    select
        {{ clean_text('id') }} as contact_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('reports_to_id') }} as reports_to_id,
        {{ clean_text('record_type_id') }} as record_type_id,
        {{ clean_text('master_record_id') }} as master_record_id,
        {{ clean_text('jigsaw_contact_id') }} as jigsaw_contact_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('first_name') }} as first_name,
        {{ clean_text('last_name') }} as last_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('title') }} as title,
        {{ clean_text('lead_source') }} as lead_source,
        {{ clean_text('name') }} as contact_name,
        {{ clean_text('salutation') }} as salutation,
        {{ clean_text('suffix') }} as suffix,
        {{ clean_text('phone') }} as phone,
        {{ clean_text('mobile_phone') }} as mobile_phone,
        {{ clean_text('mailing_street') }} as mailing_street,
        {{ clean_text('mailing_city') }} as mailing_city,
        {{ clean_text('mailing_postal_code') }} as mailing_postal_code,
        {{ clean_text('mailing_state') }} as mailing_state,
        {{ clean_text('mailing_state_code') }} as mailing_state_code,
        {{ clean_text('mailing_country') }} as mailing_country,
        {{ clean_text('mailing_country_code') }} as mailing_country_code,
        {{ clean_text('mailing_geocode_accuracy') }} as mailing_geocode_accuracy,
        {{ clean_text('department') }} as department,
        {{ clean_text('photo_url') }} as photo_url,
        {{ clean_text('email_bounced_reason') }} as email_bounced_reason,
        coalesce(do_not_call, false) as is_do_not_call,
        coalesce(has_opted_out_of_email, false) as has_opted_out_of_email,
        coalesce(is_email_bounced, false) as is_email_bounced,
        mailing_latitude,
        mailing_longitude,
        last_activity_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        email_bounced_date as email_bounced_at,
        last_cu_request_date as last_cu_request_at,
        last_cu_update_date as last_cu_update_at,
        last_viewed_date as last_viewed_at,
        last_referenced_date as last_referenced_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
