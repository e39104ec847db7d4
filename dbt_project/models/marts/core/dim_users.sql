with

users as (
    select * from {{ ref('stg_salesforce__users') }}
),

final as (
    select
        users.user_id,
        users.manager_id,
        users.user_name,
        users.email,
        users.title,
        users.department,
        managers.user_name as manager_name,
        users.is_active,
        users.created_at
    from users
    left join users as managers
        on users.manager_id = managers.user_id
)

select * from final
