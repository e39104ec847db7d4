{{ config(materialized='view') }}

with

activities as (
    select * from {{ ref('stg_marketo__activities') }}
    where not is_deleted
),

types as (
    select * from {{ ref('stg_marketo__activity_types') }}
),

leads as (
    select * from {{ ref('stg_marketo__leads') }}
),

-- An activity never changes: nothing is gained by keeping a copy.
final as (
    select
        activities.activity_id,
        activities.lead_id as marketo_lead_id,
        {{ salesforce_id18('leads.sfdc_lead_id') }} as lead_id,
        {{ salesforce_id18('leads.sfdc_contact_id') }} as contact_id,
        activities.activity_type_id,
        types.activity_type_name,
        activities.campaign_id as marketo_campaign_id,
        activities.primary_attribute_value,
        activities.activity_at
    from activities
    left join types
        on activities.activity_type_id = types.activity_type_id
    left join leads
        on activities.lead_id = leads.lead_id
)

select * from final
