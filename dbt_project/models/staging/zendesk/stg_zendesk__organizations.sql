with

source as (
    select * from {{ raw_table('zendesk', 'organizations') }}
),

final as (
    select
        id as organization_id,
        {{ clean_text('external_id') }} as external_id,
        group_id,
        {{ clean_text('url') }} as url,
        {{ clean_text('name') }} as organization_name,
        {{ clean_text('details') }} as details,
        {{ clean_text('notes') }} as notes,
        domain_names,
        tags,
        organization_fields,
        coalesce(shared_tickets, false) as has_shared_tickets,
        coalesce(shared_comments, false) as has_shared_comments,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
