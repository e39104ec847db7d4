with

source as (
    select * from {{ raw_table('salesforce', 'opportunity_history') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_history_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('stage_name') }} as stage_name,
        {{ clean_text('forecast_category') }} as forecast_category,
        amount,
        expected_revenue,
        probability,
        close_date,
        created_date as created_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
