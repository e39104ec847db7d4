with

used as (
    select * from {{ ref('agg_usage_monthly') }}
    where version_major is not null
),

-- The newest release that five installs run by then: one ping from the future is no release.
releases as (
    select
        version_major,
        coalesce(version_minor, 0) as version_minor,
        min(month_start_date) as first_month
    from used
    group by version_major, coalesce(version_minor, 0)
    having count(distinct install_uuid) >= 5
),

numbered as (
    select
        version_major,
        version_minor,
        first_month,
        row_number() over (order by version_major, version_minor) as release_number
    from releases
),

newest as (
    select
        months.month_start_date,
        max(numbered.release_number) as release_number
    from (select distinct month_start_date from used) as months
    inner join numbered
        on numbered.first_month <= months.month_start_date
    group by months.month_start_date
),

behind as (
    select
        used.month_start_date,
        used.main_edition,
        used.install_uuid,
        case
            when newest.release_number > numbered.release_number
                then newest.release_number - numbered.release_number
            when newest.release_number is not null and numbered.release_number is not null then 0
        end as releases_behind
    from used
    left join newest
        on used.month_start_date = newest.month_start_date
    left join numbered
        on
            used.version_major = numbered.version_major
            and coalesce(used.version_minor, 0) = numbered.version_minor
),

final as (
    select
        month_start_date || ' ' || main_edition as edition_month_id,
        month_start_date,
        main_edition,
        count(*) as install_count,
        count(*) filter (where releases_behind = 0) as newest_install_count,
        count(*) filter (where releases_behind between 1 and 3) as recent_install_count,
        count(*) filter (where releases_behind > 3) as old_install_count,
        count(*) filter (where releases_behind is null) as unknown_install_count,
        percentile_cont(0.5) within group (
            order by releases_behind
        )::numeric as median_releases_behind
    from behind
    group by month_start_date, main_edition
)

select * from final
