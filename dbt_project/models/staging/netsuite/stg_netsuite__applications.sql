with

source as (
    select * from {{ raw_table('netsuite', 'applications') }}
),

final as (
    select
        {{ clean_text('unique_id') }} as application_id,
        transaction_id,
        {{ clean_text('transaction_type') }} as transaction_type,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('job') }} as job,
        {{ clean_text('ref_num') }} as ref_num,
        {{ clean_text('type') }} as application_type,
        apply as is_apply,
        line,
        doc,
        amount,
        due,
        total,
        disc,
        disc_amt,
        apply_date,
        disc_date,
        last_modified_date as last_modified_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
