with

accounts as (
    select * from {{ ref('stg_salesforce__accounts') }}
),

identified as (
    select * from {{ ref('int_accounts__identified') }}
),

rooted as (
    select * from {{ ref('int_accounts__rooted') }}
),

users as (
    select * from {{ ref('stg_salesforce__users') }}
),

hosts as (
    select * from {{ ref('int_hosts__matched_to_accounts') }}
),

host_counts as (
    select
        account_id,
        count(*) as host_count,
        sum(active_user_count) as host_active_user_count,
        max(last_pinged_at) as last_pinged_at
    from hosts
    where account_id is not null
    group by account_id
),

final as (
    select
        accounts.account_id,
        accounts.parent_account_id,
        coalesce(
            rooted.ultimate_parent_account_id, accounts.account_id
        ) as ultimate_parent_account_id,
        accounts.owner_id,
        accounts.meltano_id,
        accounts.account_name,
        accounts.account_type,
        accounts.sales_segment,
        accounts.industry,
        accounts.billing_country,
        accounts.website,
        identified.account_domain,
        ultimate_parents.account_name as ultimate_parent_account_name,
        ultimate_parents.sales_segment as ultimate_parent_sales_segment,
        accounts.account_source,
        users.user_name as owner_name,
        coalesce(accounts.account_type = 'Customer', false) as is_customer,
        accounts.is_using_ce,
        accounts.is_deleted,
        accounts.employee_count,
        accounts.active_ce_user_count::bigint as active_ce_user_count,
        coalesce(host_counts.host_count, 0) as host_count,
        host_counts.host_active_user_count::bigint as host_active_user_count,
        host_counts.last_pinged_at,
        accounts.created_at,
        accounts.modified_at
    from accounts
    left join identified
        on accounts.account_id = identified.account_id
    left join rooted
        on accounts.account_id = rooted.account_id
    left join accounts as ultimate_parents
        on
            coalesce(rooted.ultimate_parent_account_id, accounts.account_id)
            = ultimate_parents.account_id
    left join users
        on accounts.owner_id = users.user_id
    left join host_counts
        on accounts.account_id = host_counts.account_id
)

select * from final
