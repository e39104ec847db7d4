with

source as (
    select * from {{ raw_table('netsuite', 'accounts') }}
),

final as (
    select
        internal_id as account_id,
        {{ clean_text('external_id') }} as external_id,
        parent_id,
        currency_id,
        department_id,
        class_id,
        location_id,
        billable_expenses_acct_id,
        deferral_acct_id,
        category1099misc_id,
        unit_id,
        units_type_id,
        {{ clean_text('acct_number') }} as acct_number,
        {{ clean_text('acct_name') }} as acct_name,
        {{ clean_text('acct_type') }} as acct_type,
        {{ clean_text('legal_name') }} as legal_name,
        {{ clean_text('description') }} as account_description,
        {{ clean_text('cash_flow_rate') }} as cash_flow_rate,
        {{ clean_text('general_rate') }} as general_rate,
        {{ clean_text('exchange_rate') }} as exchange_rate,
        {{ clean_text('parent_name') }} as parent_name,
        {{ clean_text('currency_name') }} as currency_name,
        {{ clean_text('department_name') }} as department_name,
        {{ clean_text('class_name') }} as class_name,
        {{ clean_text('location_name') }} as location_name,
        {{ clean_text('billable_expenses_acct_name') }} as billable_expenses_acct_name,
        {{ clean_text('deferral_acct_name') }} as deferral_acct_name,
        {{ clean_text('category1099misc_name') }} as category1099misc_name,
        {{ clean_text('unit_name') }} as unit_name,
        {{ clean_text('units_type_name') }} as units_type_name,
        is_inactive,
        include_children,
        inventory as is_inventory,
        eliminate as is_eliminate,
        revalue as is_revalue,
        subsidiary_list,
        restrict_to_accounting_book_list,
        custom_field_list,
        cur_doc_num,
        opening_balance,
        tran_date,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
