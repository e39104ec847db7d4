with

source as (
    select * from {{ raw_table('enrichment', 'clearbit_cache') }}
),

final as (
    select
        {{ clean_text('domain') }} as domain,
        {{ clean_text('company_name') }} as company_name,
        {{ clean_text('company_legalname') }} as company_legal_name,
        {{ clean_text('company_domain') }} as company_domain,
        {{ clean_text('company_site') }} as company_sector,
        {{ clean_text('company_industrygroup') }} as company_industry_group,
        {{ clean_text('company_industry') }} as company_industry,
        {{ clean_text('company_naics') }} as company_naics,
        {{ clean_text('company_desc') }} as company_description,
        {{ clean_text('company_loc') }} as company_location,
        {{ clean_text('company_ein') }} as company_ein,
        {{ clean_text('company_emp') }} as company_employees,
        {{ clean_text('company_emp_range') }} as company_employee_range,
        {{ clean_text('company_rev') }} as company_revenue,
        {{ clean_text('company_estrev') }} as company_estimated_revenue,
        {{ clean_text('company_type') }} as company_type,
        {{ clean_text('company_phone') }} as company_phone,
        {{ clean_text('company_tech') }} as company_technologies,
        {{ clean_text('company_index') }} as provider_indexed_at,
        {{ clean_text('provider_record_id') }} as provider_record_id,
        {{ clean_text('outcome') }} as outcome,
        raw_answer,
        last_update as fetched_at
    from source
)

select * from final
