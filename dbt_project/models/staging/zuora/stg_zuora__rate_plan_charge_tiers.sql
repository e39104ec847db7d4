with

source as (
    select * from {{ raw_table('zuora', 'rate_plan_charge_tiers') }}
),

final as (
    select
        {{ clean_text('id') }} as rate_plan_charge_tier_id,
        {{ clean_text('rate_plan_charge_id') }} as rate_plan_charge_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('price_format') }} as price_format,
        tier,
        price,
        discount_amount,
        discount_percentage,
        included_units,
        overage_price,
        starting_unit,
        ending_unit,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
