with

source as (
    select * from {{ raw_table('zendesk', 'groups') }}
),

final as (
    select
        id as group_id,
        {{ clean_text('url') }} as url,
        {{ clean_text('name') }} as group_name,
        {{ clean_text('description') }} as group_description,
        coalesce("default", false) as is_default,
        coalesce(is_public, false) as is_public,
        created_at,
        updated_at,
        {{ is_deleted('deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
