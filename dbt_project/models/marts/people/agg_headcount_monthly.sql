with

employees as (
    select * from {{ ref('dim_employees') }}
    where hire_date is not null
),

headcounts as (
    select * from {{ ref('headcounts') }}
),

candidates as (
    select * from {{ ref('fct_candidates') }}
    where is_hired
),

hiring_departments as (
    select * from {{ ref('hiring_departments') }}
),

-- People change seldom: that nobody came or went is known from the books going on.
changes as (
    select last_modified_at as changed_at
    from {{ ref('stg_netsuite__employees') }}

    union all

    select last_modified_at as changed_at
    from {{ ref('stg_netsuite__transactions') }}
),

today as (
    {{ today_of('changes', 'changed_at') }}
),

stays as (
    select
        employees.department_name,
        employees.hire_date,
        employees.release_date,
        month.month::date as month_start_date,
        least((month.month + interval '1 month - 1 day')::date, today.today) as as_of_date
    from employees
    cross join today
    cross join
        lateral generate_series(
            date_trunc('month', employees.hire_date),
            least(employees.release_date, today.today),
            interval '1 month'
        ) as month (month)
),

-- The day on which somebody leaves is still worked; who is to come later this month has not come yet.
counted as (
    select
        month_start_date,
        department_name,
        count(*) filter (
            where
            hire_date <= as_of_date and (release_date is null or release_date >= as_of_date)
        ) as employee_count,
        count(*) filter (
            where date_trunc('month', hire_date) = month_start_date and hire_date <= as_of_date
        ) as joined_count,
        count(*) filter (
            where
            date_trunc('month', release_date) = month_start_date and release_date <= as_of_date
        ) as left_count
    from stays
    group by month_start_date, department_name
),

listed as (
    select
        date_trunc('month', month_of)::date as month_start_date,
        function_name as department_name,
        sum(employee_count)::bigint as employee_count
    from headcounts
    group by date_trunc('month', month_of)::date, function_name
),

listed_months as (
    select distinct month_start_date
    from listed
),

hired as (
    select
        date_trunc('month', candidates.archived_date)::date as month_start_date,
        coalesce(
            hiring_departments.department_name, candidates.department, 'Unknown'
        ) as department_name,
        count(*) as hired_count
    from candidates
    left join hiring_departments
        on candidates.department = hiring_departments.hiring_department
    group by
        date_trunc('month', candidates.archived_date)::date,
        coalesce(hiring_departments.department_name, candidates.department, 'Unknown')
),

keys as (
    select
        month_start_date,
        department_name
    from counted

    union

    select
        month_start_date,
        department_name
    from listed

    union

    select
        month_start_date,
        department_name
    from hired
),

-- A month that the people list has is the list's alone: it may name departments otherwise.
final as (
    select
        keys.month_start_date || ' ' || keys.department_name as headcount_id,
        keys.month_start_date,
        keys.department_name as department,
        case
            when listed_months.month_start_date is not null then 'headcounts'
            when counted.month_start_date is not null then 'employees'
        end as headcount_source,
        case
            when listed_months.month_start_date is not null then listed.employee_count
            else counted.employee_count
        end as employee_count,
        coalesce(counted.joined_count, 0) as joined_count,
        coalesce(counted.left_count, 0) as left_count,
        coalesce(hired.hired_count, 0) as hired_count
    from keys
    left join listed_months
        on keys.month_start_date = listed_months.month_start_date
    left join listed
        on
            keys.month_start_date = listed.month_start_date
            and keys.department_name = listed.department_name
    left join counted
        on
            keys.month_start_date = counted.month_start_date
            and keys.department_name = counted.department_name
    left join hired
        on
            keys.month_start_date = hired.month_start_date
            and keys.department_name = hired.department_name
)

select * from final
