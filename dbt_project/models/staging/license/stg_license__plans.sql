with

source as (
    select * from {{ raw_table('license', 'plans') }}
),

final as (
    select
        id as plan_id,
        {{ clean_text('recurly_code') }} as recurly_code,
        {{ clean_text('recurly_name') }} as recurly_name,
        users_count,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
