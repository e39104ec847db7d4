with

source as (
    select * from {{ raw_table('lever', 'applications') }}
),

final as (
    select
        {{ clean_text('id') }} as application_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('candidate_id') }} as candidate_id,
        {{ clean_text('archive_reason_id') }} as archive_reason_id,
        {{ clean_text('type') }} as application_type,
        {{ clean_text('posting') }} as posting,
        {{ clean_text('posting_owner') }} as posting_owner,
        {{ clean_text('posting_hiring_manager') }} as posting_hiring_manager,
        {{ clean_text('"user"') }} as application_user,
        {{ clean_text('name') }} as application_name,
        {{ clean_text('company') }} as company,
        {{ clean_text('email') }} as email,
        {{ clean_text('comments') }} as comments,
        phone,
        links,
        custom_questions,
        requisition_for_hire,
        archived_at,
        created_at,
        opportunity_updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
