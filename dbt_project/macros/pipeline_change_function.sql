{#-
    The function pipeline_change(from_date, to_date, close_from, close_to): what became of the
    pipeline between the ends of two days, for deals that were to close within a span. Every row is
    one movement of one opportunity, negative where it leaves; all of them without Ending add up
    to Ending, whatever the dates.
-#}
{% macro pipeline_change_function(relation) -%}
create or replace function {{ relation.schema }}.pipeline_change(
    from_date date,
    to_date date,
    close_from date default '-infinity',
    close_to date default 'infinity'
)
returns table (
    opportunity_id text,
    change_type text,
    change_order integer,
    incremental_acv_reporting numeric,
    total_contract_value_reporting numeric
)
language sql
stable
as $function$
    with

    states as (
        select
            side.side,
            snapshots.opportunity_id,
            snapshots.is_in_pipeline,
            snapshots.is_in_pipeline and span.holds as is_counted,
            span.holds as is_in_span,
            case when snapshots.is_deleted then 'Deleted' else snapshots.stage_state end as state,
            -- A value that nobody entered is none; one in a currency without a rate is unknown.
            case
                when snapshots.incremental_acv is null then 0
                else snapshots.incremental_acv_reporting
            end as iacv,
            case
                when snapshots.total_contract_value is null then 0
                else snapshots.total_contract_value_reporting
            end as tcv
        from {{ relation }} as snapshots
        inner join (values ('start', from_date), ('end', to_date)) as side (side, day)
            on
                snapshots.assumed_from_at < (side.day + 1)::timestamp at time zone 'UTC'
                and (
                    snapshots.valid_before_at is null
                    or snapshots.valid_before_at >= (side.day + 1)::timestamp at time zone 'UTC'
                )
        -- What closes on no day known closes some day.
        cross join
            lateral (
                select coalesce(snapshots.close_date, 'infinity') between close_from and close_to
                    as holds
            ) as span
    ),

    compared as (
        select
            coalesce(ending.opportunity_id, starting.opportunity_id) as opportunity_id,
            coalesce(starting.is_counted, false) as was_counted,
            coalesce(ending.is_counted, false) as is_counted,
            coalesce(starting.is_in_pipeline, false) as was_in_pipeline,
            coalesce(ending.is_in_pipeline, false) as is_in_pipeline,
            coalesce(ending.is_in_span, false) as is_in_span,
            coalesce(starting.state, 'None') as state_before,
            coalesce(ending.state, 'None') as state_after,
            starting.iacv as iacv_before,
            starting.tcv as tcv_before,
            ending.iacv as iacv_after,
            ending.tcv as tcv_after
        from (select * from states where side = 'start') as starting
        full outer join (select * from states where side = 'end') as ending
            on starting.opportunity_id = ending.opportunity_id
    ),

    -- A value without a rate counts as nothing in every sum, so gaining or losing its rate is a movement.
    moved as (
        select
            opportunity_id,
            coalesce(iacv_after, 0) - coalesce(iacv_before, 0) as iacv_change,
            coalesce(tcv_after, 0) - coalesce(tcv_before, 0) as tcv_change
        from compared
        where was_counted and is_counted
    ),

    -- Came and was decided between the two days: in and out again.
    passed as (
        select *
        from compared
        where
            not was_in_pipeline
            and not is_counted
            and is_in_span
            and state_before not in ('Won', 'Lost', 'Deleted')
            and state_after in ('Won', 'Lost')
    )

    select opportunity_id, 'Starting', 1, iacv_before, tcv_before
    from compared where was_counted
    union all
    select opportunity_id, 'Created', 2, iacv_after, tcv_after
    from compared where is_counted and not was_in_pipeline
    union all
    select opportunity_id, 'Created', 2, iacv_after, tcv_after
    from passed
    union all
    select opportunity_id, 'Moved In', 3, iacv_after, tcv_after
    from compared where is_counted and was_in_pipeline and not was_counted
    union all
    select opportunity_id,
        case when (iacv_change, tcv_change) > (0, 0) then 'Increased' else 'Decreased' end,
        case when (iacv_change, tcv_change) > (0, 0) then 4 else 5 end,
        iacv_change, tcv_change
    from moved
    where iacv_change <> 0 or tcv_change <> 0
    union all
    select opportunity_id,
        case
            when is_in_pipeline then 'Moved Out'
            when state_after in ('Won', 'Lost') then state_after
            else 'Removed'
        end,
        case
            when is_in_pipeline then 6
            when state_after = 'Won' then 7
            when state_after = 'Lost' then 8
            else 9
        end,
        -iacv_before, -tcv_before
    from compared where was_counted and not is_counted
    union all
    select opportunity_id, state_after, case when state_after = 'Won' then 7 else 8 end,
        -iacv_after, -tcv_after
    from passed
    union all
    select opportunity_id, 'Ending', 10, iacv_after, tcv_after
    from compared where is_counted
$function$
{%- endmacro %}
