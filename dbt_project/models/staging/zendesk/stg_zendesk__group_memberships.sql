with

source as (
    select * from {{ raw_table('zendesk', 'group_memberships') }}
),

final as (
    select
        id as group_membership_id,
        user_id,
        group_id,
        {{ clean_text('url') }} as url,
        "default" as group_membership_default,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
