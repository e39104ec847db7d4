with

source as (
    select * from {{ raw_table('salesforce', 'campaigns') }}
),

final as (
    select
        {{ clean_text('id') }} as campaign_id,
        {{ clean_text('parent_id') }} as parent_campaign_id,
        {{ clean_text('owner_id') }} as owner_id,
        {{ clean_text('name') }} as campaign_name,
        {{ clean_text('type') }} as campaign_type,
        {{ clean_text('status') }} as campaign_status,
        coalesce(is_active, false) as is_active,
        budgeted_cost,
        actual_cost,
        expected_revenue,
        start_date,
        end_date,
        created_date as created_at,
        last_modified_date as modified_at,
        system_modstamp as system_modified_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
