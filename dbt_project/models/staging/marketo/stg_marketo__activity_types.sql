-- A plain select: Postgres looks through it, and leaves out a join that only adds columns.
select
    id as activity_type_id,
    {{ clean_text('name') }} as activity_type_name,
    {{ clean_text('api_name') }} as api_name,
    {{ clean_text('description') }} as activity_type_description,
    primary_attribute,
    attributes,
    {{ is_deleted() }} as is_deleted,
    _loaded_at as loaded_at
from {{ raw_table('marketo', 'activity_types') }}
