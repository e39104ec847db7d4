with

leads as (
    select * from {{ ref('int_leads__attributed') }}
),

lead_source_types as (
    select * from {{ ref('lead_source_types') }}
),

final as (
    select
        leads.lead_id,
        leads.owner_id,
        leads.campaign_id,
        leads.converted_account_id,
        leads.converted_contact_id,
        leads.converted_opportunity_id,
        leads.company_name,
        leads.lead_status,
        leads.lead_source,
        case
            when leads.lead_source is null then 'Unknown'
            else coalesce(lead_source_types.lead_source_type, 'Other')
        end as lead_source_type,
        leads.industry,
        leads.is_converted,
        leads.created_date,
        date_trunc('month', leads.created_date)::date as created_month,
        leads.marketing_qualified_date,
        leads.converted_date,
        leads.created_at
    from leads
    left join lead_source_types
        on leads.lead_source = lead_source_types.lead_source
)

select * from final
