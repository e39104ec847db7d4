with

source as (
    select * from {{ raw_table('zuora', 'accounting_codes') }}
),

final as (
    select
        {{ clean_text('id') }} as accounting_code_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as accounting_code_name,
        {{ clean_text('type') }} as accounting_code_type,
        {{ clean_text('category') }} as accounting_code_category,
        {{ clean_text('status') }} as accounting_code_status,
        {{ clean_text('gl_account_name') }} as gl_account_name,
        {{ clean_text('gl_account_number') }} as gl_account_number,
        {{ clean_text('notes') }} as notes,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
