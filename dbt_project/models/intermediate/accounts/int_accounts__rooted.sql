with recursive

accounts as (
    select
        account_id,
        parent_account_id
    from {{ ref('stg_salesforce__accounts') }}
    where not is_deleted
),

-- Up the hierarchy, never twice through one account: people do make circles.
climbs as (
    select
        account_id,
        account_id as ancestor_account_id,
        parent_account_id as next_account_id,
        array[account_id] as path
    from accounts

    union all

    select
        climbs.account_id,
        accounts.account_id as ancestor_account_id,
        accounts.parent_account_id as next_account_id,
        climbs.path || accounts.account_id as path
    from climbs
    inner join accounts
        on climbs.next_account_id = accounts.account_id
    where accounts.account_id <> all(climbs.path)
),

tops as (
    select distinct on (account_id)
        account_id,
        ancestor_account_id,
        coalesce(next_account_id = any(path), false) as is_in_circle,
        path[array_position(path, next_account_id):] as circle,
        cardinality(path) - 1 as depth
    from climbs
    order by account_id, cardinality(path) desc
),

-- A circle has no top; its first account by id stands for it, the same one for all its members.
final as (
    select
        tops.account_id,
        case
            when tops.is_in_circle
                then (
                    select min(member.account_id collate "C")
                    from unnest(tops.circle) as member (account_id)
                )
            else tops.ancestor_account_id
        end as ultimate_parent_account_id,
        tops.depth,
        tops.is_in_circle
    from tops
)

select * from final
