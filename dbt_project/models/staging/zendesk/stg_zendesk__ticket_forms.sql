with

source as (
    select * from {{ raw_table('zendesk', 'ticket_forms') }}
),

final as (
    select
        id as ticket_form_id,
        {{ clean_text('name') }} as ticket_form_name,
        {{ clean_text('raw_name') }} as raw_name,
        {{ clean_text('display_name') }} as display_name,
        {{ clean_text('raw_display_name') }} as raw_display_name,
        {{ clean_text('url') }} as url,
        active as is_active,
        "default" as ticket_form_default,
        end_user_visible as is_end_user_visible,
        in_all_brands as is_in_all_brands,
        ticket_field_ids,
        restricted_brand_ids,
        agent_conditions,
        end_user_conditions,
        position,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
