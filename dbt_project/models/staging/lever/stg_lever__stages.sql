with

source as (
    select * from {{ raw_table('lever', 'stages') }}
),

final as (
    select
        {{ clean_text('id') }} as stage_id,
        {{ clean_text('text') }} as text,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
