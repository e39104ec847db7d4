with

source as (
    select * from {{ raw_table('ci_stats', 'spec_profiling_results') }}
),

final as (
    select
        id as spec_profiling_result_id,
        {{ clean_text('commit') }} as commit,
        {{ clean_text('branch') }} as branch,
        {{ clean_text('file') }} as file,
        {{ clean_text('description') }} as spec_profiling_result_description,
        {{ clean_text('status') }} as spec_profiling_result_status,
        {{ clean_text('exception') }} as exception,
        line_number,
        query_count,
        request_count,
        spec_time,
        query_time,
        request_time,
        date,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
