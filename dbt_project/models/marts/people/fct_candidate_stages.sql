with

staged as (
    select * from {{ ref('int_candidates__staged') }}
),

final as (
    select
        candidate_stage_id,
        candidate_id,
        stage_id,
        stage_name,
        stage_number,
        round(
            (extract(epoch from left_at - entered_at) / 86400)::numeric, 2
        ) as days_in_stage,
        entered_at,
        left_at
    from staged
)

select * from final
