with

programs as (
    select * from {{ ref('stg_marketo__programs') }}
    where not is_deleted
),

members as (
    select
        program_id,
        count(*) as member_count,
        count(*) filter (where is_reached_success) as success_count
    from {{ ref('stg_marketo__program_members') }}
    where not is_deleted
    group by program_id
),

costs as (
    select
        programs.program_id,
        sum(
            case
                when jsonb_typeof(cost.cost -> 'cost') = 'number'
                    then (cost.cost ->> 'cost')::numeric
            end
        ) as period_cost
    from programs
    cross join
        lateral jsonb_array_elements(
            case when jsonb_typeof(programs.costs) = 'array' then programs.costs end
        ) as cost (cost)
    group by programs.program_id
),

final as (
    select
        programs.program_id,
        {{ salesforce_id18('programs.sfdc_id') }} as campaign_id,
        programs.program_name,
        programs.program_type,
        programs.channel,
        programs.program_status,
        coalesce(costs.period_cost, 0) as period_cost,
        coalesce(members.member_count, 0) as member_count,
        coalesce(members.success_count, 0) as success_count,
        {{ ratio('costs.period_cost', 'members.success_count') }} as cost_per_success,
        programs.start_at,
        programs.end_at,
        programs.created_at
    from programs
    left join members
        on programs.program_id = members.program_id
    left join costs
        on programs.program_id = costs.program_id
)

select * from final
