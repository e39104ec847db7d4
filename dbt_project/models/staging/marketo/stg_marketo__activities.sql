-- A plain select: Postgres looks through it, and leaves out a join that only adds columns.
select
    marketo_guid as activity_id,
    lead_id,
    activity_type_id,
    campaign_id,
    primary_attribute_value_id,
    {{ clean_text('primary_attribute_value') }} as primary_attribute_value,
    attributes,
    activity_date as activity_at,
    {{ is_deleted() }} as is_deleted,
    _loaded_at as loaded_at
from {{ raw_table('marketo', 'activities') }}
