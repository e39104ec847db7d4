{%- set amounts = [
    'total_contract_value', 'incremental_acv', 'acv',
    'total_contract_value_reporting', 'incremental_acv_reporting', 'acv_reporting',
] -%}
with

opportunities as (
    select * from {{ ref('fct_opportunities') }}
),

line_items as (
    select * from {{ ref('stg_salesforce__opportunity_line_items') }}
    where not is_deleted
),

products as (
    select * from {{ ref('stg_salesforce__products') }}
),

priced as (
    select
        opportunity_line_item_id,
        opportunity_id,
        product2_id,
        product_code,
        quantity,
        coalesce(total_price, unit_price * quantity, 0) as price,
        row_number() over (
            partition by opportunity_id order by sort_order, opportunity_line_item_id
        ) as line_number,
        count(*) over (partition by opportunity_id) as line_count,
        sum(coalesce(total_price, unit_price * quantity, 0)) over (
            partition by opportunity_id
        ) as opportunity_price
    from line_items
),

-- By price; where the prices come to nothing, evenly.
placed as (
    select
        opportunity_line_item_id,
        opportunity_id,
        product2_id,
        product_code,
        quantity,
        line_number,
        price,
        opportunity_price,
        line_count,
        case
            when line_number = line_count then 1
            when opportunity_price = 0 then line_number::numeric / line_count
            else sum(price) over (
                partition by opportunity_id order by line_number
            ) / opportunity_price
        end as share_until
    from priced
),

shared as (
    select
        opportunity_line_item_id,
        opportunity_id,
        product2_id,
        product_code,
        quantity,
        line_number,
        share_until,
        coalesce(
            lag(share_until) over (partition by opportunity_id order by line_number), 0
        ) as share_before
    from placed
),

-- A deal without line items is one line of no product. Each line gets what lies between the two
-- rounded sums, so that nothing is lost by rounding.
final as (
    select
        coalesce(
            shared.opportunity_line_item_id, opportunities.opportunity_id || ' none'
        ) as opportunity_line_item_id,
        opportunities.opportunity_id,
        opportunities.account_id,
        shared.product2_id as product_id,
        coalesce(products.product_code, shared.product_code) as product_code,
        coalesce(products.product_name, shared.product_code, 'Unknown') as product_name,
        coalesce(products.family, 'Unknown') as product_family,
        opportunities.stage_state,
        opportunities.source_group,
        opportunities.currency_code,
        opportunities.is_won,
        opportunities.is_sales_accepted,
        coalesce(shared.line_number, 1) as line_number,
        shared.quantity,
        coalesce(shared.share_until, 1) - coalesce(shared.share_before, 0) as share,
        {%- for amount in amounts %}
        round(opportunities.{{ amount }} * coalesce(shared.share_until, 1), 6)
        - round(opportunities.{{ amount }} * coalesce(shared.share_before, 0), 6) as {{ amount }},
        {%- endfor %}
        opportunities.close_date,
        opportunities.sales_accepted_date
    from opportunities
    left join shared
        on opportunities.opportunity_id = shared.opportunity_id
    left join products
        on shared.product2_id = products.product_id
)

select * from final
