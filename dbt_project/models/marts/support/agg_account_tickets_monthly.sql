with

tickets as (
    select * from {{ ref('fct_tickets') }}
    where not is_deleted and not is_merged and created_date is not null
),

final as (
    select
        coalesce(account_id, 'none')
        || ' ' || date_trunc('month', created_date)::date as account_month_id,
        account_id,
        date_trunc('month', created_date)::date as month_start_date,
        count(*) as ticket_count,
        count(*) filter (where is_solved) as solved_count,
        count(*) filter (where priority in ('high', 'urgent')) as urgent_count,
        count(*) filter (where satisfaction_score = 'good') as good_count,
        count(*) filter (where satisfaction_score = 'bad') as bad_count,
        (
            percentile_cont(0.5) within group (order by first_reply_minutes)
        )::numeric as median_first_reply_minutes,
        (
            percentile_cont(0.5) within group (order by full_resolution_minutes)
        )::numeric as median_full_resolution_minutes
    from tickets
    group by account_id, date_trunc('month', created_date)::date
)

select * from final
