with

source as (
    select * from {{ raw_table('license', 'add_ons') }}
),

final as (
    select
        id as add_on_id,
        {{ clean_text('name') }} as add_on_name,
        {{ clean_text('code') }} as add_on_code,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
