with

source as (
    select * from {{ raw_table('salesforce', 'opportunity_stages') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_stage_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('master_label') }} as master_label,
        {{ clean_text('api_name') }} as api_name,
        {{ clean_text('description') }} as opportunity_stage_description,
        {{ clean_text('forecast_category') }} as forecast_category,
        {{ clean_text('forecast_category_name') }} as forecast_category_name,
        is_active,
        is_closed,
        is_won,
        sort_order,
        default_probability,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
