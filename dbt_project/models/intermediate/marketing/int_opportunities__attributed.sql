with

opportunities as (
    select * from {{ ref('int_opportunities__sales_accepted') }}
),

touches as (
    select * from {{ ref('int_opportunities__touched') }}
),

placed as (
    select
        opportunity_id,
        campaign_id,
        days_before_acceptance,
        row_number() over (
            partition by opportunity_id order by touch_date, campaign_id
        ) as place,
        count(*) over (partition by opportunity_id) as touch_count
    from touches
),

-- Without a touch the primary campaign, without that nobody: every share has an owner.
sole as (
    select
        opportunities.opportunity_id,
        opportunities.campaign_id as primary_campaign_id,
        placed.campaign_id as touch_campaign_id
    from opportunities
    left join placed
        on
            opportunities.opportunity_id = placed.opportunity_id
            and placed.place
            = {% if var('single_touch') == 'last' %}placed.touch_count{% else %}1{% endif %}
),

single_touch as (
    select
        opportunity_id,
        'single_touch' as attribution_model,
        coalesce(primary_campaign_id, touch_campaign_id) as campaign_id,
        1.0 as weight
    from sole
),

untouched as (
    select
        sole.opportunity_id,
        models.attribution_model,
        sole.primary_campaign_id as campaign_id,
        1.0 as weight
    from sole
    cross join
        (values ('linear'), ('u_shaped'), ('time_decay')) as models (attribution_model)
    where sole.touch_campaign_id is null
),

linear as (
    select
        opportunity_id,
        'linear' as attribution_model,
        campaign_id,
        1.0 as weight
    from placed
),

-- Two fifths to the first and to the last touch, the last fifth to those between.
u_shaped as (
    select
        opportunity_id,
        'u_shaped' as attribution_model,
        campaign_id,
        case
            when touch_count <= 2 then 1.0
            when place in (1, touch_count) then 0.4
            else 0.2 / (touch_count - 2)
        end as weight
    from placed
),

time_decay as (
    select
        opportunity_id,
        'time_decay' as attribution_model,
        campaign_id,
        -- Beyond a hundred half-lives a touch weighs nothing that a number could hold.
        power(
            0.5,
            least(
                days_before_acceptance / {{ var('time_decay_half_life_days') }}::numeric, 100
            )
        ) as weight
    from placed
),

weighted as (
    select * from single_touch

    union all

    select * from untouched

    union all

    select * from linear

    union all

    select * from u_shaped

    union all

    select * from time_decay
),

final as (
    select
        opportunity_id,
        attribution_model,
        campaign_id,
        round(
            weight / sum(weight) over (partition by opportunity_id, attribution_model), 12
        ) as share
    from weighted
)

select * from final
