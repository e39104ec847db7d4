with

campaigns as (
    select * from {{ ref('stg_salesforce__campaigns') }}
),

campaign_members as (
    select * from {{ ref('stg_salesforce__campaign_members') }}
),

-- A person who was added twice is one person.
members as (
    select
        campaign_id,
        coalesce(contact_id, lead_id) as person_id,
        bool_or(has_responded) as has_responded,
        bool_or(lead_id is not null) as is_lead
    from campaign_members
    where not is_deleted
    group by campaign_id, coalesce(contact_id, lead_id)
),

member_counts as (
    select
        campaign_id,
        count(*) as member_count,
        count(*) filter (where has_responded) as responded_count,
        count(*) filter (where is_lead) as lead_count
    from members
    group by campaign_id
),

final as (
    select
        campaigns.campaign_id,
        campaigns.parent_campaign_id,
        campaigns.owner_id,
        campaigns.campaign_name,
        campaigns.campaign_type,
        campaigns.campaign_status,
        parents.campaign_name as parent_campaign_name,
        parents.campaign_type as parent_campaign_type,
        campaigns.is_active,
        campaigns.is_deleted,
        campaigns.budgeted_cost,
        campaigns.actual_cost,
        campaigns.expected_revenue,
        coalesce(member_counts.member_count, 0) as member_count,
        coalesce(member_counts.responded_count, 0) as responded_count,
        coalesce(member_counts.lead_count, 0) as lead_count,
        campaigns.start_date,
        campaigns.end_date,
        campaigns.created_at
    from campaigns
    left join campaigns as parents
        on campaigns.parent_campaign_id = parents.campaign_id
    left join member_counts
        on campaigns.campaign_id = member_counts.campaign_id
)

select * from final
