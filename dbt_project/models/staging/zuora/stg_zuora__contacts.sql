with

source as (
    select * from {{ raw_table('zuora', 'contacts') }}
),

final as (
    select
        {{ clean_text('id') }} as contact_id,
        {{ clean_text('account_id') }} as account_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('city') }} as city,
        {{ clean_text('country') }} as country,
        {{ clean_text('county') }} as county,
        {{ clean_text('state') }} as contact_state,
        {{ clean_text('postal_code') }} as postal_code,
        {{ clean_text('description') }} as contact_description,
        {{ clean_text('other_phone_type') }} as other_phone_type,
        {{ clean_text('tax_region') }} as tax_region,
        {{ clean_text('first_name') }} as first_name,
        {{ clean_text('last_name') }} as last_name,
        {{ clean_text('nickname') }} as nickname,
        {{ clean_text('work_email') }} as work_email,
        {{ clean_text('personal_email') }} as personal_email,
        {{ clean_text('work_phone') }} as work_phone,
        {{ clean_text('home_phone') }} as home_phone,
        {{ clean_text('mobile_phone') }} as mobile_phone,
        {{ clean_text('other_phone') }} as other_phone,
        {{ clean_text('fax') }} as fax,
        {{ clean_text('address1') }} as address1,
        {{ clean_text('address2') }} as address2,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
