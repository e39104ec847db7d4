with

source as (
    select * from {{ raw_table('lever', 'postings') }}
),

final as (
    select
        {{ clean_text('id') }} as posting_id,
        {{ clean_text('text') }} as text,
        {{ clean_text('state') }} as posting_state,
        {{ clean_text('"user"') }} as posting_user,
        {{ clean_text('owner') }} as owner,
        {{ clean_text('hiring_manager') }} as hiring_manager,
        {{ clean_text('confidentiality') }} as confidentiality,
        {{ clean_text('team') }} as team,
        {{ clean_text('department') }} as department,
        {{ clean_text('location') }} as location,
        {{ clean_text('commitment') }} as commitment,
        {{ clean_text('level') }} as level,
        {{ clean_text('country') }} as country,
        {{ clean_text('workplace_type') }} as workplace_type,
        {{ clean_text('req_code') }} as req_code,
        categories,
        tags,
        content,
        followers,
        requisition_codes,
        salary_range,
        distribution_channels,
        urls,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
