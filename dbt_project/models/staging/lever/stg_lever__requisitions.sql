with

source as (
    select * from {{ raw_table('lever', 'requisitions') }}
),

final as (
    select
        {{ clean_text('id') }} as requisition_id,
        {{ clean_text('requisition_code') }} as requisition_code,
        {{ clean_text('name') }} as requisition_name,
        {{ clean_text('status') }} as requisition_status,
        {{ clean_text('employment_status') }} as employment_status,
        {{ clean_text('confidentiality') }} as confidentiality,
        {{ clean_text('creator') }} as creator,
        {{ clean_text('owner') }} as owner,
        {{ clean_text('hiring_manager') }} as hiring_manager,
        {{ clean_text('team') }} as team,
        {{ clean_text('department') }} as department,
        {{ clean_text('location') }} as location,
        {{ clean_text('headcount_total') }} as headcount_total,
        {{ clean_text('internal_notes') }} as internal_notes,
        backfill as is_backfill,
        compensation_band,
        approval,
        custom_fields,
        offer_ids,
        postings,
        headcount_hired,
        created_at,
        updated_at,
        closed_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
