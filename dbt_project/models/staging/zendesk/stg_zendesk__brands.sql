with

source as (
    select * from {{ raw_table('zendesk', 'brands') }}
),

final as (
    select
        id as brand_id,
        {{ clean_text('name') }} as brand_name,
        {{ clean_text('subdomain') }} as subdomain,
        {{ clean_text('host_mapping') }} as host_mapping,
        {{ clean_text('brand_url') }} as brand_url,
        {{ clean_text('url') }} as url,
        active as is_active,
        "default" as brand_default,
        has_help_center,
        ticket_form_ids,
        created_at,
        updated_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
