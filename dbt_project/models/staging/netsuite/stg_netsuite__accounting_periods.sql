with

source as (
    select * from {{ raw_table('netsuite', 'accounting_periods') }}
),

final as (
    select
        internal_id as accounting_period_id,
        {{ clean_text('external_id') }} as external_id,
        parent_id,
        fiscal_calendar_id,
        {{ clean_text('period_name') }} as period_name,
        {{ clean_text('parent_name') }} as parent_name,
        {{ clean_text('fiscal_calendar_name') }} as fiscal_calendar_name,
        is_adjust,
        is_quarter,
        is_year,
        closed as is_closed,
        ap_locked as is_ap_locked,
        ar_locked as is_ar_locked,
        payroll_locked as is_payroll_locked,
        all_locked as is_all_locked,
        allow_non_gl_changes,
        fiscal_calendars_list,
        start_date,
        end_date,
        closed_on_date as closed_on_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
