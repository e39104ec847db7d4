with

source as (
    select * from {{ raw_table('salesforce', 'opportunity_field_history') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_field_history_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('field') }} as field,
        {{ clean_text('old_value') }} as old_value,
        {{ clean_text('new_value') }} as new_value,
        created_date as created_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
