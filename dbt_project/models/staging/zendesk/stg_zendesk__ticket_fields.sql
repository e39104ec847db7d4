with

source as (
    select * from {{ raw_table('zendesk', 'ticket_fields') }}
),

final as (
    select
        id as ticket_field_id,
        sub_type_id,
        {{ clean_text('type') }} as ticket_field_type,
        {{ clean_text('title') }} as ticket_field_title,
        {{ clean_text('raw_title') }} as raw_title,
        {{ clean_text('description') }} as ticket_field_description,
        {{ clean_text('raw_description') }} as raw_description,
        {{ clean_text('agent_description') }} as agent_description,
        {{ clean_text('tag') }} as tag,
        {{ clean_text('regexp_for_validation') }} as regexp_for_validation,
        {{ clean_text('url') }} as url,
        active as is_active,
        required as is_required,
        removable as is_removable,
        visible_in_portal as is_visible_in_portal,
        editable_in_portal as is_editable_in_portal,
        required_in_portal as is_required_in_portal,
        custom_field_options,
        system_field_options,
        position,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
