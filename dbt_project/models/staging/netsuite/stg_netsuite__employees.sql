with

source as (
    select * from {{ raw_table('netsuite', 'employees') }}
),

final as (
    select
        internal_id as employee_id,
        {{ clean_text('external_id') }} as external_id,
        {{ clean_text('entity_id') }} as entity_id,
        department_id,
        class_id,
        location_id,
        subsidiary_id,
        currency_id,
        supervisor_id,
        {{ clean_text('first_name') }} as first_name,
        {{ clean_text('middle_name') }} as middle_name,
        {{ clean_text('last_name') }} as last_name,
        {{ clean_text('email') }} as email,
        {{ clean_text('title') }} as employee_title,
        {{ clean_text('department_name') }} as department_name,
        {{ clean_text('class_name') }} as class_name,
        {{ clean_text('location_name') }} as location_name,
        {{ clean_text('subsidiary_name') }} as subsidiary_name,
        {{ clean_text('currency_name') }} as currency_name,
        {{ clean_text('supervisor_name') }} as supervisor_name,
        is_inactive,
        hire_date,
        release_date,
        date_created,
        last_modified_date as last_modified_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
