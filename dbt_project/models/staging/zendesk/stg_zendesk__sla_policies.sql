with

source as (
    select * from {{ raw_table('zendesk', 'sla_policies') }}
),

final as (
    select
        id as sla_policy_id,
        {{ clean_text('title') }} as sla_policy_title,
        {{ clean_text('description') }} as sla_policy_description,
        {{ clean_text('url') }} as url,
        filter,
        policy_metrics,
        position,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
