with

source as (
    select * from {{ raw_table('salesforce', 'opportunity_line_items') }}
),

final as (
    select
        {{ clean_text('id') }} as opportunity_line_item_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('product2_id') }} as product2_id,
        {{ clean_text('pricebook_entry_id') }} as pricebook_entry_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('product_code') }} as product_code,
        {{ clean_text('name') }} as opportunity_line_item_name,
        {{ clean_text('description') }} as opportunity_line_item_description,
        sort_order,
        quantity,
        list_price,
        unit_price,
        total_price,
        service_date,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
