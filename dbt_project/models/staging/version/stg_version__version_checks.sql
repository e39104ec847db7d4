with

source as (
    select * from {{ raw_table('version', 'version_checks') }}
),

final as (
    select
        id as version_check_id,
        host_id,
        left(referer_url, {{ var('raw_host_length') }}) as raw_host,
        {{ clean_text('gitlab_version') }} as version,
        {{ clean_text('request_data') }} as request_data,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
