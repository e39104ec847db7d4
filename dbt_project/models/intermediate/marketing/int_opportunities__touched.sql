with

opportunities as (
    select * from {{ ref('int_opportunities__sales_accepted') }}
),

campaign_members as (
    select * from {{ ref('stg_salesforce__campaign_members') }}
    where has_responded and not is_deleted
),

leads as (
    select * from {{ ref('stg_salesforce__leads') }}
    where not is_deleted
),

contacts as (
    select * from {{ ref('stg_salesforce__contacts') }}
    where not is_deleted
),

programs as (
    select * from {{ ref('stg_marketo__programs') }}
    where not is_deleted and sfdc_id is not null
),

program_members as (
    select * from {{ ref('stg_marketo__program_members') }}
    where is_reached_success and not is_deleted
),

people as (
    select * from {{ ref('stg_marketo__leads') }}
    where not is_deleted
),

-- Marketo knows responses that its sync never wrote to Salesforce. Only a program that belongs to a
-- campaign counts: the others have no spend to weigh.
responses as (
    select
        campaign_id,
        lead_id,
        contact_id,
        coalesce(first_responded_date, (created_at at time zone 'UTC')::date) as touch_date
    from campaign_members

    union all

    select
        {{ salesforce_id18('programs.sfdc_id') }} as campaign_id,
        {{ salesforce_id18('people.sfdc_lead_id') }} as lead_id,
        {{ salesforce_id18('people.sfdc_contact_id') }} as contact_id,
        (
            coalesce(
                program_members.reached_success_at,
                program_members.membership_at,
                program_members.created_at
            ) at time zone 'UTC'
        )::date as touch_date
    from program_members
    inner join programs
        on program_members.program_id = programs.program_id
    inner join people
        on program_members.lead_id = people.lead_id
),

-- The lead that became the opportunity, and everybody at its account.
by_lead as (
    select
        leads.converted_opportunity_id as opportunity_id,
        responses.campaign_id,
        responses.touch_date
    from responses
    inner join leads
        on responses.lead_id = leads.lead_id
    where leads.converted_opportunity_id is not null
),

by_account as (
    select
        opportunities.opportunity_id,
        responses.campaign_id,
        responses.touch_date
    from responses
    inner join contacts
        on responses.contact_id = contacts.contact_id
    inner join opportunities
        on contacts.account_id = opportunities.account_id
),

touches as (
    select * from by_lead

    union

    select * from by_account
),

-- What came after acceptance did not lead to it. One touch for each campaign: the first.
final as (
    select
        touches.opportunity_id,
        touches.campaign_id,
        min(touches.touch_date) as touch_date,
        opportunities.sales_accepted_date - min(touches.touch_date) as days_before_acceptance
    from touches
    inner join opportunities
        on
            touches.opportunity_id = opportunities.opportunity_id
            and touches.touch_date <= opportunities.sales_accepted_date
    where touches.campaign_id is not null
    group by touches.opportunity_id, touches.campaign_id, opportunities.sales_accepted_date
)

select * from final
