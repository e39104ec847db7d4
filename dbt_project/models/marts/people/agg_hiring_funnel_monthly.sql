with

candidates as (
    select * from {{ ref('fct_candidates') }}
),

stages as (
    select distinct
        candidate_id,
        stage_name
    from {{ ref('fct_candidate_stages') }}
    -- Who was hired is known by the archive, whatever a stage is called.
    where stage_name is not null and stage_name <> 'Hired'
),

-- The month in which a candidate came: each one moves down the funnel of its own month.
cohorts as (
    select
        date_trunc('month', candidates.created_date)::date as month_start_date,
        coalesce(candidates.department, 'Unknown') as department,
        stages.stage_name as step_name,
        count(*) as candidate_count
    from candidates
    inner join stages
        on candidates.candidate_id = stages.candidate_id
    where candidates.created_date is not null
    group by
        date_trunc('month', candidates.created_date)::date,
        coalesce(candidates.department, 'Unknown'),
        stages.stage_name
),

totals as (
    select
        date_trunc('month', created_date)::date as month_start_date,
        coalesce(department, 'Unknown') as department,
        count(*) as all_count,
        count(*) filter (where is_hired) as hired_count
    from candidates
    where created_date is not null
    group by date_trunc('month', created_date)::date, coalesce(department, 'Unknown')
),

steps as (
    select
        month_start_date,
        department,
        step_name,
        candidate_count
    from cohorts

    union all

    select
        month_start_date,
        department,
        'Hired' as step_name,
        hired_count as candidate_count
    from totals
),

final as (
    select
        steps.month_start_date || ' ' || steps.department || ' ' || steps.step_name
            as hiring_funnel_id,
        steps.month_start_date,
        steps.department,
        steps.step_name,
        sum(steps.candidate_count)::bigint as candidate_count,
        totals.all_count as all_candidate_count,
        {{ ratio('sum(steps.candidate_count)', 'totals.all_count') }} as share_of_all
    from steps
    inner join totals
        on
            steps.month_start_date = totals.month_start_date
            and steps.department = totals.department
    group by
        steps.month_start_date, steps.department, steps.step_name, totals.all_count
)

select * from final
