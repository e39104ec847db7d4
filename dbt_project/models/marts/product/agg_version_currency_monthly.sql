-- Counted once for each month, edition and version; what follows reads those few counts.
with

counted as (
    select
        month_start_date,
        main_edition,
        version_major,
        coalesce(version_minor, 0) as version_minor,
        count(*) as install_count
    from {{ ref('agg_usage_monthly') }}
    where version_major is not null
    group by month_start_date, main_edition, version_major, coalesce(version_minor, 0)
),

monthly as (
    select
        version_major,
        version_minor,
        month_start_date,
        sum(install_count) as install_count
    from counted
    group by version_major, version_minor, month_start_date
),

seen as (
    select
        version_major,
        version_minor,
        min(month_start_date) as first_month,
        max(install_count) as most_installs
    from monthly
    group by version_major, version_minor
),

-- What five installs run in one month is known to be run by five; only the others are counted.
rare as (
    select
        seen.version_major,
        seen.version_minor,
        count(distinct used.install_uuid) as install_count
    from seen
    inner join {{ ref('agg_usage_monthly') }} as used
        on
            seen.version_major = used.version_major
            and seen.version_minor = coalesce(used.version_minor, 0)
    where seen.most_installs < 5
    group by seen.version_major, seen.version_minor
),

-- The newest release that five installs run by then: one ping from the future is no release.
releases as (
    select
        seen.version_major,
        seen.version_minor,
        seen.first_month,
        row_number() over (order by seen.version_major, seen.version_minor) as release_number
    from seen
    left join rare
        on seen.version_major = rare.version_major and seen.version_minor = rare.version_minor
    where coalesce(rare.install_count, seen.most_installs) >= 5
),

newest as (
    select
        months.month_start_date,
        max(releases.release_number) as release_number
    from (select distinct month_start_date from counted) as months
    inner join releases
        on releases.first_month <= months.month_start_date
    group by months.month_start_date
),

behind as (
    select
        counted.month_start_date,
        counted.main_edition,
        counted.install_count,
        case
            when newest.release_number > releases.release_number
                then newest.release_number - releases.release_number
            when newest.release_number is not null and releases.release_number is not null then 0
        end as releases_behind
    from counted
    left join newest
        on counted.month_start_date = newest.month_start_date
    left join releases
        on
            counted.version_major = releases.version_major
            and counted.version_minor = releases.version_minor
),

-- The median lies in the middle of the installs whose distance is known: between two, if even.
ranked as (
    select
        month_start_date,
        main_edition,
        releases_behind,
        install_count,
        sum(install_count) filter (where releases_behind is not null) over (
            partition by month_start_date, main_edition order by releases_behind
        ) as installs_up_to,
        sum(install_count) filter (where releases_behind is not null) over (
            partition by month_start_date, main_edition
        ) as installs_known
    from behind
),

final as (
    select
        month_start_date || ' ' || main_edition as edition_month_id,
        month_start_date,
        main_edition,
        sum(install_count)::bigint as install_count,
        coalesce(sum(install_count) filter (where releases_behind = 0), 0)::bigint
            as newest_install_count,
        coalesce(sum(install_count) filter (where releases_behind between 1 and 3), 0)::bigint
            as recent_install_count,
        coalesce(sum(install_count) filter (where releases_behind > 3), 0)::bigint
            as old_install_count,
        coalesce(sum(install_count) filter (where releases_behind is null), 0)::bigint
            as unknown_install_count,
        trim_scale((
            min(releases_behind) filter (where installs_up_to * 2 >= installs_known)
            + min(releases_behind) filter (where installs_up_to * 2 > installs_known)
        ) / 2.0) as median_releases_behind
    from ranked
    group by month_start_date, main_edition
)

select * from final
