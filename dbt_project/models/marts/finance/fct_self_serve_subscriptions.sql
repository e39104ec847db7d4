with

subscriptions as (
    select * from {{ ref('stg_stripe__subscriptions') }}
    where not is_deleted
),

items as (
    select
        subscriptions.subscription_id,
        coalesce(subscriptions.currency, item.item -> 'price' ->> 'currency') as currency,
        {{ json_number("item.item -> 'quantity'") }} as quantity,
        {{ json_number("item.item -> 'price' -> 'unit_amount'") }} as unit_amount,
        coalesce(
            item.item -> 'price' -> 'recurring' ->> 'interval', item.item -> 'plan' ->> 'interval'
        ) as billing_interval,
        coalesce(
            {{ json_number("item.item -> 'price' -> 'recurring' -> 'interval_count'") }},
            {{ json_number("item.item -> 'plan' -> 'interval_count'") }},
            1
        ) as interval_count
    from subscriptions
    cross join
        lateral jsonb_array_elements(
            case when jsonb_typeof(subscriptions.items) = 'array' then subscriptions.items end
        ) as item (item)
),

-- A month is a twelfth of a year, whatever it is billed by. What has no price of one (tiers) is unknown.
monthly as (
    select
        subscription_id,
        sum(quantity) as quantity,
        case
            when
                bool_and(
                    unit_amount is not null and billing_interval in ('day', 'week', 'month', 'year')
                )
                then
                    sum(
                        {{ from_smallest_unit('unit_amount', 'currency') }}
                        * coalesce(quantity, 1)
                        * case billing_interval
                            when 'day' then 365.0 / 12
                            when 'week' then 52.0 / 12
                            when 'month' then 1.0
                            when 'year' then 1.0 / 12
                        end
                        / nullif(interval_count, 0)
                    )
        end as list_mrr
    from items
    group by subscription_id
),

final as (
    select
        subscriptions.subscription_id,
        subscriptions.customer as customer_id,
        subscriptions.subscription_status,
        upper(coalesce(subscriptions.currency, '{{ var("reporting_currency") }}')) as currency_code,
        coalesce(subscriptions.subscription_status in ('active', 'past_due'), false) as is_recurring_now,
        coalesce(subscriptions.is_cancel_at_period_end, false) as is_cancel_at_period_end,
        monthly.quantity,
        round(monthly.list_mrr, 6) as list_mrr,
        case
            when coalesce(subscriptions.subscription_status in ('active', 'past_due'), false)
                then round(monthly.list_mrr, 6)
            else 0
        end as mrr,
        (subscriptions.start_at at time zone 'UTC')::date as start_date,
        (subscriptions.canceled_at at time zone 'UTC')::date as cancelled_date,
        (subscriptions.ended_at at time zone 'UTC')::date as end_date,
        (subscriptions.current_period_end at time zone 'UTC')::date as renewal_date,
        subscriptions.created as created_at
    from subscriptions
    left join monthly
        on subscriptions.subscription_id = monthly.subscription_id
)

select * from final
