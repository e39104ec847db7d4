with recursive

departments as (
    select
        department_id,
        department_name,
        parent_id
    from {{ ref('stg_netsuite__departments') }}
),

climbs as (
    select
        department_id,
        department_name,
        parent_id as next_id,
        department_name as top_name,
        array[department_id] as path
    from departments

    union all

    select
        climbs.department_id,
        climbs.department_name,
        departments.parent_id as next_id,
        departments.department_name as top_name,
        climbs.path || departments.department_id as path
    from climbs
    inner join departments
        on climbs.next_id = departments.department_id
    where departments.department_id <> all(climbs.path)
),

final as (
    select distinct on (department_id)
        department_id,
        department_name,
        top_name as top_department_name,
        cardinality(path) - 1 as depth
    from climbs
    order by department_id, cardinality(path) desc
)

select * from final
