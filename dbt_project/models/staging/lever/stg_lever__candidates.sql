with

source as (
    select * from {{ raw_table('lever', 'candidates') }}
),

final as (
    select
        {{ clean_text('id') }} as candidate_id,
        {{ clean_text('stage_id') }} as stage_id,
        {{ clean_text('archive_reason_id') }} as archive_reason_id,
        {{ clean_text('stage_text') }} as stage_text,
        {{ clean_text('archive_reason_text') }} as archive_reason_text,
        {{ clean_text('origin') }} as origin,
        sources,
        applications,
        pipeline_stage_ids,
        pipeline_stage_names,
        pipeline_stage_timestamps,
        created_at,
        archived_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
