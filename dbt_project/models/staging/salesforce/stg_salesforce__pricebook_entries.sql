with

source as (
    select * from {{ raw_table('salesforce', 'pricebook_entries') }}
),

final as (
    select
        {{ clean_text('id') }} as pricebook_entry_id,
        {{ clean_text('pricebook2_id') }} as pricebook2_id,
        {{ clean_text('product2_id') }} as product2_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as pricebook_entry_name,
        {{ clean_text('product_code') }} as product_code,
        is_active,
        use_standard_price as is_use_standard_price,
        unit_price,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
