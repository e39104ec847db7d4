with

source as (
    select * from {{ raw_table('salesforce', 'campaigns') }}
),

final as (
    select
        {{ clean_text('id') }} as campaign_id,
        {{ clean_text('parent_id') }} as parent_campaign_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('campaign_member_record_type_id') }} as campaign_member_record_type_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as campaign_name,
        {{ clean_text('type') }} as campaign_type,
        {{ clean_text('status') }} as campaign_status,
        {{ clean_text('description') }} as campaign_description,
        coalesce(is_active, false) as is_active,
        budgeted_cost,
        actual_cost,
        expected_revenue,
        number_of_leads,
        number_of_converted_leads,
        number_of_contacts,
        number_of_responses,
        number_of_opportunities,
        number_of_won_opportunities,
        expected_response,
        number_sent,
        amount_all_opportunities,
        amount_won_opportunities,
        start_date,
        end_date,
        last_activity_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        last_viewed_date as last_viewed_at,
        last_referenced_date as last_referenced_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
