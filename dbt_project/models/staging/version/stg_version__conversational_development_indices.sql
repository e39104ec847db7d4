with

source as (
    select * from {{ raw_table('version', 'conversational_development_indices') }}
),

final as (
    select
        id as conversational_development_indice_id,
        usage_data_id,
        leader_boards,
        instance_boards,
        percentage_boards,
        leader_ci_pipelines,
        instance_ci_pipelines,
        percentage_ci_pipelines,
        leader_deployments,
        instance_deployments,
        percentage_deployments,
        leader_environments,
        instance_environments,
        percentage_environments,
        leader_issues,
        instance_issues,
        percentage_issues,
        leader_merge_requests,
        instance_merge_requests,
        percentage_merge_requests,
        leader_milestones,
        instance_milestones,
        percentage_milestones,
        leader_notes,
        instance_notes,
        percentage_notes,
        leader_projects_prometheus_active,
        instance_projects_prometheus_active,
        percentage_projects_prometheus_active,
        leader_service_desk_issues,
        instance_service_desk_issues,
        percentage_service_desk_issues,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
