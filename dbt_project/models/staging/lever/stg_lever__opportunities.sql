with

source as (
    select * from {{ raw_table('lever', 'opportunities') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_id,
        {{ clean_text('archive_reason_id') }} as archive_reason_id,
        {{ clean_text('name') }} as opportunity_name,
        {{ clean_text('contact') }} as contact,
        {{ clean_text('headline') }} as headline,
        {{ clean_text('stage') }} as stage,
        {{ clean_text('confidentiality') }} as confidentiality,
        {{ clean_text('origin') }} as origin,
        {{ clean_text('owner') }} as owner,
        {{ clean_text('sourced_by') }} as sourced_by,
        {{ clean_text('location') }} as location,
        {{ clean_text('opportunity_location') }} as opportunity_location,
        is_anonymized,
        stage_changes,
        phones,
        emails,
        links,
        tags,
        sources,
        followers,
        applications,
        urls,
        data_protection,
        archived_at,
        created_at,
        updated_at,
        last_interaction_at,
        last_advanced_at,
        snoozed_until,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
