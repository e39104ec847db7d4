with

source as (
    select * from {{ raw_table('zendesk', 'tickets') }}
),

final as (
    select
        id as ticket_id,
        {{ clean_text('external_id') }} as external_id,
        requester_id,
        submitter_id,
        assignee_id,
        organization_id,
        group_id,
        problem_id,
        brand_id,
        ticket_form_id,
        forum_topic_id,
        via_followup_source_id as followup_source_id,
        {{ clean_text('url') }} as url,
        {{ clean_text('type') }} as ticket_type,
        {{ clean_text('subject') }} as subject,
        {{ clean_text('raw_subject') }} as raw_subject,
        {{ clean_text('description') }} as ticket_description,
        {{ clean_text('priority') }} as priority,
        {{ clean_text('status') }} as ticket_status,
        {{ clean_text('recipient') }} as recipient,
        via,
        tags,
        custom_fields,
        fields,
        satisfaction_rating,
        collaborator_ids,
        collaborators,
        follower_ids,
        email_cc_ids,
        sharing_agreement_ids,
        followup_ids,
        macro_ids,
        coalesce(has_incidents, false) as has_incidents,
        coalesce(allow_channelback, false) as allow_channelback,
        coalesce(is_public, false) as is_public,
        due_at,
        created_at,
        updated_at,
        to_timestamp(generated_timestamp) as exported_at,
        {{ is_deleted("status = 'deleted'") }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
