with

source as (
    select * from {{ raw_table('marketo', 'programs') }}
),

final as (
    select
        id as program_id,
        {{ clean_text('sfdc_id') }} as sfdc_id,
        {{ clean_text('name') }} as program_name,
        {{ clean_text('description') }} as program_description,
        {{ clean_text('type') }} as program_type,
        {{ clean_text('channel') }} as channel,
        {{ clean_text('status') }} as program_status,
        {{ clean_text('workspace') }} as workspace,
        {{ clean_text('url') }} as url,
        {{ clean_text('sfdc_name') }} as sfdc_name,
        folder,
        costs,
        start_date as start_at,
        end_date as end_at,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
