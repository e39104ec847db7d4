with

source as (
    select * from {{ raw_table('stripe', 'products') }}
),

final as (
    select
        {{ clean_text('id') }} as product_id,
        {{ clean_text('caption') }} as caption,
        {{ clean_text('default_price') }} as default_price,
        {{ clean_text('description') }} as product_description,
        {{ clean_text('name') }} as product_name,
        {{ clean_text('statement_descriptor') }} as statement_descriptor,
        {{ clean_text('tax_code') }} as tax_code,
        {{ clean_text('type') }} as product_type,
        {{ clean_text('unit_label') }} as unit_label,
        {{ clean_text('url') }} as url,
        active as is_active,
        shippable as is_shippable,
        livemode as is_livemode,
        attributes,
        deactivate_on,
        images,
        package_dimensions,
        metadata,
        created,
        updated,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
