with

leads as (
    select * from {{ ref('stg_salesforce__leads') }}
),

campaign_members as (
    select * from {{ ref('stg_salesforce__campaign_members') }}
),

-- Where the lead came from: the first campaign it responded to, else the first it was put in.
first_touches as (
    select distinct on (lead_id)
        lead_id,
        campaign_id
    from campaign_members
    where lead_id is not null and not is_deleted
    order by
        lead_id,
        has_responded desc,
        coalesce(first_responded_date, (created_at at time zone 'UTC')::date),
        created_at,
        campaign_member_id
),

final as (
    select
        leads.lead_id,
        leads.owner_id,
        first_touches.campaign_id,
        leads.converted_account_id,
        leads.converted_contact_id,
        leads.converted_opportunity_id,
        leads.company_name,
        leads.lead_status,
        leads.lead_source,
        leads.industry,
        leads.is_converted,
        (leads.created_at at time zone 'UTC')::date as created_date,
        leads.marketing_qualified_date,
        leads.converted_date,
        leads.created_at
    from leads
    left join first_touches
        on leads.lead_id = first_touches.lead_id
    where not leads.is_deleted
)

select * from final
