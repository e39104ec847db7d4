with

source as (
    select * from {{ raw_table('marketo', 'campaigns') }}
),

final as (
    select
        id as campaign_id,
        program_id,
        {{ clean_text('name') }} as campaign_name,
        {{ clean_text('description') }} as campaign_description,
        {{ clean_text('type') }} as campaign_type,
        {{ clean_text('program_name') }} as program_name,
        {{ clean_text('workspace_name') }} as workspace_name,
        active as is_active,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
