with

source as (
    select * from {{ raw_table('version', 'users') }}
),

final as (
    select
        id as user_id,
        {{ clean_text('email') }} as email,
        {{ clean_text('provider') }} as provider,
        {{ clean_text('uid') }} as uid,
        current_sign_in_ip,
        last_sign_in_ip,
        sign_in_count,
        failed_attempts,
        current_sign_in_at,
        last_sign_in_at,
        locked_at,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
