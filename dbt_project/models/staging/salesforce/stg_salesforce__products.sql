with

source as (
    select * from {{ raw_table('salesforce', 'products') }}
),

final as (
    select
        {{ clean_text('id') }} as product_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('last_modified_by_id') }} as last_modified_by_id,
        {{ clean_text('name') }} as product_name,
        {{ clean_text('product_code') }} as product_code,
        {{ clean_text('description') }} as product_description,
        {{ clean_text('family') }} as family,
        is_active,
        created_date as created_at,
        last_modified_date as last_modified_at,
        system_modstamp,
        last_viewed_date as last_viewed_at,
        last_referenced_date as last_referenced_at,
        {{ is_deleted('is_deleted') }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
