with

source as (
    select * from {{ raw_table('salesforce', 'user_roles') }}
),

final as (
    select
        {{ clean_text('id') }} as user_role_id,
        {{ clean_text('parent_role_id') }} as parent_role_id,
        {{ clean_text('forecast_user_id') }} as forecast_user_id,
        {{ clean_text('portal_account_id') }} as portal_account_id,
        {{ clean_text('portal_account_owner_id') }} as portal_account_owner_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as user_role_name,
        {{ clean_text('developer_name') }} as developer_name,
        {{ clean_text('rollup_description') }} as rollup_description,
        {{ clean_text('opportunity_access_for_account_owner') }} as opportunity_access_for_account_owner,
        {{ clean_text('case_access_for_account_owner') }} as case_access_for_account_owner,
        {{ clean_text('contact_access_for_account_owner') }} as contact_access_for_account_owner,
        {{ clean_text('portal_type') }} as portal_type,
        {{ clean_text('portal_role') }} as portal_role,
        may_forecast_manager_share as is_may_forecast_manager_share,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
