with

source as (
    select * from {{ raw_table('lever', 'sources') }}
),

final as (
    select
        {{ clean_text('text') }} as text,
        count,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
