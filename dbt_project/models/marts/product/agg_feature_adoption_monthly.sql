-- Counted once for each month and edition, for all features side by side; only then a row for each.
with

used as (
    select * from {{ ref('agg_usage_monthly') }}
),

counted as (
    select
        month_start_date,
        main_edition,
        {%- for counter in usage_counters() %}
        count(*) filter (where uses_{{ counter }}) as {{ counter }}_count,
        {%- endfor %}
        count(*) as install_count
    from used
    group by month_start_date, main_edition
),

final as (
    select
        counted.month_start_date || ' ' || counted.main_edition || ' ' || features.feature
            as feature_month_id,
        counted.month_start_date,
        counted.main_edition,
        features.feature,
        counted.install_count,
        features.using_install_count,
        {{ ratio('features.using_install_count', 'counted.install_count') }} as adoption
    from counted
    cross join
        lateral (
            values
            {%- for counter in usage_counters() %}
            ('{{ counter }}', counted.{{ counter }}_count){% if not loop.last %},{% endif %}
            {%- endfor %}
        ) as features (feature, using_install_count)
)

select * from final
