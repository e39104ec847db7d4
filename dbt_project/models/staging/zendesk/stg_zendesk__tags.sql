with

source as (
    select * from {{ raw_table('zendesk', 'tags') }}
),

final as (
    select
        {{ clean_text('name') }} as tag_name,
        count,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
