with

spent as (
    select * from {{ ref('int_campaigns__spent') }}
),

final as (
    select
        campaign_id || ' ' || month_start_date as marketing_spend_id,
        campaign_id,
        month_start_date,
        spend
    from spent
)

select * from final
