with

acquisition as (
    select * from {{ ref('agg_acquisition_monthly') }}
),

campaign_months as (
    select * from {{ ref('agg_campaign_acquisition_monthly') }}
    where campaign_id is not null
),

opportunities as (
    select * from {{ ref('fct_sales_accepted_opportunities') }}
),

estimates as (
    select * from {{ ref('agg_estimated_iacv_monthly') }}
),

-- One row per SAO, grain and dimension by which it is counted.
countable as (
    select
        periods.period_grain,
        periods.period_start_date,
        dimensions.dimension_name,
        dimensions.dimension_value
    from opportunities
    cross join
        lateral (
            values
            ('week', opportunities.sales_accepted_week),
            ('month', opportunities.sales_accepted_month)
        ) as periods (period_grain, period_start_date)
    cross join
        lateral (
            values
            ('all', 'all'),
            ('source_group', opportunities.source_group),
            ('sales_segment', opportunities.sales_segment),
            ('campaign', coalesce(opportunities.campaign_id, 'none'))
        ) as dimensions (dimension_name, dimension_value)
),

counted as (
    select
        'sales_accepted_opportunities' as metric,
        period_grain,
        period_start_date,
        dimension_name,
        dimension_value,
        count(*)::numeric as value,
        count(*)::numeric as numerator,
        null::numeric as denominator,
        null as currency_code
    from countable
    group by period_grain, period_start_date, dimension_name, dimension_value
),

totals as (
    select
        metrics.metric,
        'month' as period_grain,
        acquisition.month_start_date as period_start_date,
        'all' as dimension_name,
        'all' as dimension_value,
        metrics.value,
        metrics.numerator,
        metrics.denominator,
        case when metrics.is_money then '{{ var("reporting_currency") }}' end as currency_code
    from acquisition
    cross join
        lateral (
            values
            ('marketing_spend', spend, spend, null, true),
            ('leads', lead_count, lead_count, null, false),
            ('customers_won', customers_won_count, customers_won_count, null, false),
            ('cost_per_lead', cost_per_lead, spend, lead_count, true),
            (
                'cost_per_sales_accepted_opportunity',
                cost_per_sales_accepted_opportunity,
                spend,
                sales_accepted_opportunity_count,
                true
            ),
            (
                'customer_acquisition_cost',
                customer_acquisition_cost,
                spend,
                customers_won_count,
                true
            ),
            ('estimated_iacv', estimated_iacv, won_iacv_within_median, null, true),
            (
                'estimated_iacv_per_sales_accepted_opportunity',
                estimated_iacv_per_sales_accepted_opportunity,
                estimated_iacv,
                sales_accepted_opportunity_count,
                true
            ),
            (
                'lifetime_value_per_sales_accepted_opportunity',
                lifetime_value_per_sales_accepted_opportunity,
                estimated_iacv * gross_margin,
                sales_accepted_opportunity_count * yearly_churn,
                true
            ),
            (
                'estimated_iacv_to_marketing',
                estimated_iacv_to_marketing,
                estimated_iacv,
                spend,
                false
            ),
            (
                'lifetime_value',
                lifetime_value,
                customers_won_iacv * gross_margin,
                customers_won_count * yearly_churn,
                true
            ),
            (
                'return_on_investment',
                return_on_investment,
                lifetime_value,
                customer_acquisition_cost,
                false
            )
        ) as metrics (metric, value, numerator, denominator, is_money)
),

by_campaign as (
    select
        metrics.metric,
        'month' as period_grain,
        campaign_months.month_start_date as period_start_date,
        'campaign' as dimension_name,
        campaign_months.campaign_id as dimension_value,
        metrics.value,
        metrics.numerator,
        metrics.denominator,
        case when metrics.is_money then '{{ var("reporting_currency") }}' end as currency_code
    from campaign_months
    cross join
        lateral (
            values
            ('marketing_spend', spend, spend, null, true),
            ('leads', lead_count, lead_count, null, false),
            ('cost_per_lead', cost_per_lead, spend, lead_count, true),
            (
                'cost_per_sales_accepted_opportunity',
                cost_per_sales_accepted_opportunity,
                spend,
                sales_accepted_opportunity_share,
                true
            )
        ) as metrics (metric, value, numerator, denominator, is_money)
),

by_source_group as (
    select
        'estimated_iacv' as metric,
        'month' as period_grain,
        sales_accepted_month as period_start_date,
        'source_group' as dimension_name,
        source_group as dimension_value,
        estimated_iacv as value,
        won_iacv_within_median as numerator,
        null::numeric as denominator,
        '{{ var("reporting_currency") }}' as currency_code
    from estimates
),

metrics as (
    select * from counted

    union all

    select * from totals

    union all

    select * from by_campaign

    union all

    select * from by_source_group
),

final as (
    select
        metric
        || ' ' || period_grain
        || ' ' || period_start_date
        || ' ' || dimension_name
        || ' ' || dimension_value as metric_value_id,
        metric,
        period_grain,
        period_start_date,
        dimension_name,
        dimension_value,
        value,
        numerator,
        denominator,
        currency_code,
        1 as definition_version
    from metrics
)

select * from final
