with

campaigns as (
    select * from {{ ref('stg_salesforce__campaigns') }}
),

today as (
    {{ today_of(ref('stg_salesforce__campaigns'), 'system_modified_at') }}
),

dated as (
    select
        campaign_id,
        actual_cost,
        coalesce(start_date, (created_at at time zone 'UTC')::date) as first_day,
        end_date
    from campaigns
    where not is_deleted and actual_cost is not null
),

-- Money that is spent was spent by today, however long the campaign will still run.
spans as (
    select
        dated.campaign_id,
        dated.actual_cost,
        dated.first_day,
        greatest(
            dated.first_day, least(coalesce(dated.end_date, dated.first_day), today.today)
        ) as last_day
    from dated
    cross join today
    where dated.first_day is not null
),

months as (
    select
        spans.campaign_id,
        spans.actual_cost,
        spans.first_day,
        spans.last_day,
        month.month::date as month_start_date
    from spans
    cross join
        lateral generate_series(
            date_trunc('month', spans.first_day), spans.last_day, interval '1 month'
        ) as month (month)
),

final as (
    select
        campaign_id,
        month_start_date,
        round(
            actual_cost
            * (
                least(last_day, (month_start_date + interval '1 month - 1 day')::date)
                - greatest(first_day, month_start_date)
                + 1
            )
            / (last_day - first_day + 1),
            6
        ) as spend
    from months
)

select * from final
