-- A plain select: Postgres looks through it, to the index that finds the latest pings and to the
-- statistics of the columns. With common table expressions in it the view would be a wall.
select
    id as version_check_id,
    host_id,
    {{ raw_host('referer_url') }} as raw_host,
    {{ clean_text('gitlab_version') }} as version,
    {{ clean_text('request_data') }} as request_data,
    created_at,
    updated_at,
    {{ is_deleted() }} as is_deleted,
    _loaded_at as loaded_at
from {{ raw_table('version', 'version_checks') }}
