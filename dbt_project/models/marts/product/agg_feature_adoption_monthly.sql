with

used as (
    select * from {{ ref('agg_usage_monthly') }}
),

final as (
    select
        used.month_start_date || ' ' || used.main_edition || ' ' || features.feature
            as feature_month_id,
        used.month_start_date,
        used.main_edition,
        features.feature,
        count(*) as install_count,
        count(*) filter (where features.is_used) as using_install_count,
        {{ ratio('count(*) filter (where features.is_used)', 'count(*)') }} as adoption
    from used
    cross join
        lateral (
            values
            {%- for counter in usage_counters() %}
            ('{{ counter }}', used.uses_{{ counter }}){% if not loop.last %},{% endif %}
            {%- endfor %}
        ) as features (feature, is_used)
    group by used.month_start_date, used.main_edition, features.feature
)

select * from final
