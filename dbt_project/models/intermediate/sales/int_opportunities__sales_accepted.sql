with

opportunities as (
    select * from {{ ref('int_opportunities__classified') }}
),

-- The definition of a sales accepted opportunity (docs/metrics.md); nothing else decides it.
final as (
    select *
    from opportunities
    where
        sales_accepted_date is not null
        and not is_deleted
        and (
            opportunity_type is null
            or opportunity_type in ('New Business', 'Add-On Business')
        )
        and can_be_sales_accepted
        and total_contract_value >= 0
        and lead_source is distinct from 'Web Direct'
)

select * from final
