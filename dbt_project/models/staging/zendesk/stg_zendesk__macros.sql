with

source as (
    select * from {{ raw_table('zendesk', 'macros') }}
),

final as (
    select
        id as macro_id,
        {{ clean_text('title') }} as macro_title,
        {{ clean_text('description') }} as macro_description,
        {{ clean_text('url') }} as url,
        active as is_active,
        "default" as macro_default,
        actions,
        restriction,
        position,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
