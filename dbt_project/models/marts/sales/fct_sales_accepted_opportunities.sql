with

opportunities as (
    select * from {{ ref('int_opportunities__sales_accepted') }}
),

final as (
    select
        opportunity_id,
        account_id,
        campaign_id,
        owner_id,
        opportunity_name,
        source_group,
        sales_qualified_source,
        sales_segment,
        stage_name,
        stage_state,
        opportunity_type,
        lead_source,
        lead_source_type,
        currency_code,
        is_won,
        total_contract_value,
        incremental_acv,
        total_contract_value_reporting,
        incremental_acv_reporting,
        sales_accepted_date,
        date_trunc('week', sales_accepted_date)::date as sales_accepted_week,
        date_trunc('month', sales_accepted_date)::date as sales_accepted_month,
        close_date,
        created_at
    from opportunities
)

select * from final
