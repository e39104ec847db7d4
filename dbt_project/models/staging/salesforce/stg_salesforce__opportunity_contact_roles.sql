with

source as (
    select * from {{ raw_table('salesforce', 'opportunity_contact_roles') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_contact_role_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('contact_id') }} as contact_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('role') }} as role,
        is_primary,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
