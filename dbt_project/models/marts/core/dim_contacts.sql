with

contacts as (
    select * from {{ ref('stg_salesforce__contacts') }}
),

final as (
    select
        contact_id,
        account_id,
        owner_id,
        first_name,
        last_name,
        email,
        split_part(lower(email), '@', 2) as email_domain,
        title,
        lead_source,
        is_deleted,
        created_at
    from contacts
)

select * from final
