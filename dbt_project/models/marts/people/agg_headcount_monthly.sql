with

headcounts as (
    select * from {{ ref('headcounts') }}
),

candidates as (
    select * from {{ ref('fct_candidates') }}
    where is_hired
),

known as (
    select
        date_trunc('month', month_of)::date as month_start_date,
        function_name as department,
        sum(employee_count)::bigint as employee_count
    from headcounts
    group by date_trunc('month', month_of)::date, function_name
),

hired as (
    select
        date_trunc('month', archived_date)::date as month_start_date,
        coalesce(department, 'Unknown') as department,
        count(*) as hired_count
    from candidates
    group by date_trunc('month', archived_date)::date, coalesce(department, 'Unknown')
),

final as (
    select
        coalesce(known.month_start_date, hired.month_start_date)
        || ' ' || coalesce(known.department, hired.department) as headcount_id,
        coalesce(known.month_start_date, hired.month_start_date) as month_start_date,
        coalesce(known.department, hired.department) as department,
        known.employee_count,
        coalesce(hired.hired_count, 0) as hired_count
    from known
    full outer join hired
        on
            known.month_start_date = hired.month_start_date
            and known.department = hired.department
)

select * from final
