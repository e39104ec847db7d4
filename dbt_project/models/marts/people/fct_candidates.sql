with

opportunities as (
    select * from {{ ref('stg_lever__opportunities') }}
    where not is_deleted
),

staged as (
    select * from {{ ref('int_candidates__staged') }}
),

stages as (
    select * from {{ ref('stg_lever__stages') }}
),

reasons as (
    select * from {{ ref('stg_lever__archive_reasons') }}
),

applications as (
    select distinct on (opportunity_id)
        opportunity_id,
        posting
    from {{ ref('stg_lever__applications') }}
    where not is_deleted
    order by opportunity_id, created_at desc nulls last, application_id
),

postings as (
    select * from {{ ref('stg_lever__postings') }}
),

offers as (
    select
        opportunity_id,
        count(*) as offer_count,
        min(created_at) as first_offered_at
    from {{ ref('stg_lever__offers') }}
    where not is_deleted
    group by opportunity_id
),

stage_counts as (
    select
        candidate_id,
        count(*) as stage_count
    from staged
    group by candidate_id
),

-- Neither names nor addresses: who a candidate is stays in staging.
final as (
    select
        opportunities.opportunity_id as candidate_id,
        applications.posting as posting_id,
        postings.text as posting_name,
        postings.department,
        postings.team,
        postings.location,
        opportunities.origin,
        opportunities.sources ->> 0 as first_source,
        stages.text as stage_name,
        reasons.text as archive_reason,
        coalesce(offers.offer_count, 0) as offer_count,
        coalesce(stage_counts.stage_count, 0) as stage_count,
        opportunities.archived_at is not null as is_archived,
        coalesce(
            opportunities.archived_at is not null
            and (reasons.archive_reason_type = 'hired' or reasons.text ilike 'hired'),
            false
        ) as is_hired,
        (opportunities.created_at at time zone 'UTC')::date as created_date,
        (offers.first_offered_at at time zone 'UTC')::date as first_offered_date,
        (opportunities.archived_at at time zone 'UTC')::date as archived_date,
        opportunities.created_at,
        opportunities.archived_at
    from opportunities
    left join stages
        on opportunities.stage = stages.stage_id
    left join reasons
        on opportunities.archive_reason_id = reasons.archive_reason_id
    left join applications
        on opportunities.opportunity_id = applications.opportunity_id
    left join postings
        on applications.posting = postings.posting_id
    left join offers
        on opportunities.opportunity_id = offers.opportunity_id
    left join stage_counts
        on opportunities.opportunity_id = stage_counts.candidate_id
)

select * from final
