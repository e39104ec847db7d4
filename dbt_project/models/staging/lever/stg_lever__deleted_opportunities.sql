with

source as (
    select * from {{ raw_table('lever', 'deleted_opportunities') }}
),

final as (
    select
        {{ clean_text('id') }} as deleted_opportunity_id,
        {{ clean_text('deleted_by') }} as deleted_by,
        deleted_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
