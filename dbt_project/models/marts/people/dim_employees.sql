with

employees as (
    select * from {{ ref('stg_netsuite__employees') }}
    where not is_deleted
),

departments as (
    select * from {{ ref('int_departments__rooted') }}
),

-- Neither names nor titles: who somebody is stays in staging.
final as (
    select
        employees.employee_id,
        employees.department_id,
        coalesce(departments.department_name, employees.department_name, 'Unknown')
            as department_name,
        coalesce(departments.top_department_name, employees.department_name, 'Unknown')
            as top_department_name,
        employees.subsidiary_name,
        coalesce(
            employees.hire_date, (employees.date_created at time zone 'UTC')::date
        ) as hire_date,
        -- Who is inactive has left; at the latest when that was written down.
        coalesce(
            employees.release_date,
            case
                when employees.is_inactive
                    then (employees.last_modified_at at time zone 'UTC')::date
            end
        ) as release_date
    from employees
    left join departments
        on employees.department_id = departments.department_id
)

select * from final
