with

opportunities as (
    select * from {{ ref('int_opportunities__classified') }}
    where
        not is_deleted
        and stage_state in ('Won', 'Lost')
        -- A duplicate or what never was an opportunity is no customer who left.
        and can_be_sales_accepted
        and close_date is not null
),

bounds as (
    select
        date_trunc('month', min(close_date)) as first_month,
        date_trunc('month', max(close_date)) as last_month
    from opportunities
),

months as (
    select month.month::date as month_start_date
    from bounds
    cross join
        lateral generate_series(
            bounds.first_month, bounds.last_month, interval '1 month'
        ) as month (month)
),

renewals as (
    select
        date_trunc('month', close_date)::date as month_start_date,
        count(*) as closed_count,
        count(*) filter (where stage_state = 'Lost') as lost_count
    from opportunities
    where opportunity_type = 'Renewal'
    group by date_trunc('month', close_date)::date
),

-- A year of renewals: each customer comes up once.
final as (
    select
        months.month_start_date,
        coalesce(sum(renewals.closed_count) over year, 0)::bigint as renewal_count,
        coalesce(sum(renewals.lost_count) over year, 0)::bigint as lost_renewal_count,
        {{ ratio('sum(renewals.lost_count) over year', 'sum(renewals.closed_count) over year') }}
            as yearly_churn
    from months
    left join renewals
        on months.month_start_date = renewals.month_start_date
    window year as (
        order by months.month_start_date rows between 11 preceding and current row
    )
)

select * from final
