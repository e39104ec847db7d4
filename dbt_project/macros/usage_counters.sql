{#- The counters of a usage ping that are unpacked into columns. -#}
{% macro usage_counters() -%}
    {{ return([
        'auto_devops_disabled', 'auto_devops_enabled', 'boards', 'ci_builds',
        'ci_external_pipelines', 'ci_internal_pipelines', 'ci_pipeline_config_auto_devops',
        'ci_pipeline_config_repository', 'ci_pipeline_schedules', 'ci_runners', 'ci_triggers',
        'clusters', 'clusters_applications_helm', 'clusters_applications_ingress',
        'clusters_applications_prometheus', 'clusters_applications_runner', 'clusters_disabled',
        'clusters_enabled', 'clusters_platforms_gke', 'clusters_platforms_user', 'deploy_keys',
        'deployments', 'environments', 'gcp_clusters', 'groups', 'in_review_folder', 'issues',
        'keys', 'labels', 'lfs_objects', 'merge_requests', 'milestones', 'notes', 'pages_domains',
        'projects', 'projects_imported_from_github', 'projects_prometheus_active',
        'protected_branches', 'releases', 'remote_mirrors', 'snippets', 'todos', 'uploads',
        'web_hooks',
    ]) }}
{%- endmacro %}
