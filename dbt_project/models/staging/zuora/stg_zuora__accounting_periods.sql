with

source as (
    select * from {{ raw_table('zuora', 'accounting_periods') }}
),

final as (
    select
        {{ clean_text('id') }} as accounting_period_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('name') }} as accounting_period_name,
        {{ clean_text('status') }} as accounting_period_status,
        fiscal_year,
        start_date,
        end_date,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
