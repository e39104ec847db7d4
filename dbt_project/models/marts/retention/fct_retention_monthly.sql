{#- One table for the three levels: what is lost by a subscription may be won by its sister. -#}
with

compared as (
    select * from {{ ref('int_subscriptions__compared') }}
),

recurring as (
    select * from {{ ref('int_subscriptions__recurring_monthly') }}
),

months as (
    select distinct
        month_start_date,
        as_of_date
    from compared
),

-- All that an account pays now counts for it, also subscriptions that it began since.
present as (
    select
        recurring.month_start_date,
        recurring.billing_account_id,
        recurring.account_id,
        recurring.ultimate_parent_account_id,
        recurring.arr_reporting as present_arr_reporting,
        0::numeric as year_ago_arr_reporting
    from recurring
    inner join months
        on recurring.month_start_date = months.month_start_date
    left join compared
        on
            recurring.subscription_name = compared.subscription_name
            and recurring.month_start_date = compared.month_start_date
    where compared.subscription_name is null
),

all_subscriptions as (
    select
        month_start_date,
        billing_account_id,
        account_id,
        ultimate_parent_account_id,
        present_arr_reporting,
        year_ago_arr_reporting
    from compared

    union all

    select
        month_start_date,
        billing_account_id,
        account_id,
        ultimate_parent_account_id,
        present_arr_reporting,
        year_ago_arr_reporting
    from present
),

by_entity as (
    select
        levels.retention_level,
        levels.entity_id,
        all_subscriptions.month_start_date,
        -- One part without a rate leaves the whole unknown.
        case
            when bool_or(all_subscriptions.present_arr_reporting is null) then null
            else sum(all_subscriptions.present_arr_reporting)
        end as present_arr_reporting,
        case
            when bool_or(all_subscriptions.year_ago_arr_reporting is null) then null
            else sum(all_subscriptions.year_ago_arr_reporting)
        end as year_ago_arr_reporting
    from all_subscriptions
    cross join
        lateral (
            values
            (
                'account',
                coalesce(all_subscriptions.account_id, all_subscriptions.billing_account_id)
            ),
            (
                'ultimate_parent',
                coalesce(
                    all_subscriptions.ultimate_parent_account_id,
                    all_subscriptions.billing_account_id
                )
            )
        ) as levels (retention_level, entity_id)
    group by
        levels.entity_id, all_subscriptions.month_start_date, levels.retention_level
),

by_level as (
    -- By itself a subscription that nobody paid a year ago cannot be retained.
    select
        'subscription' as retention_level,
        subscription_name as entity_id,
        month_start_date,
        present_arr_reporting,
        year_ago_arr_reporting
    from compared

    union all

    select
        retention_level,
        entity_id,
        month_start_date,
        present_arr_reporting,
        year_ago_arr_reporting
    from by_entity
),

final as (
    select
        retention_level || ' ' || entity_id || ' ' || month_start_date as retention_id,
        retention_level,
        entity_id,
        month_start_date,
        {{ retention_type('present_arr_reporting', 'year_ago_arr_reporting') }}
            as retention_type,
        case
            when year_ago_arr_reporting < 5000 then '1: under 5k'
            when year_ago_arr_reporting < 50000 then '2: 5k to 50k'
            when year_ago_arr_reporting < 100000 then '3: 50k to 100k'
            when year_ago_arr_reporting >= 100000 then '4: 100k and more'
        end as year_ago_band,
        year_ago_arr_reporting,
        present_arr_reporting,
        present_arr_reporting - year_ago_arr_reporting as change_reporting
    from by_level
    where year_ago_arr_reporting > 0 or year_ago_arr_reporting is null
)

select * from final
