with

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

candidates as (
    select * from {{ ref('int_companies__matching_candidates') }}
),

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

accounts as (
    select * from {{ ref('stg_salesforce__accounts') }}
),

hosts as (
    select * from {{ ref('int_hosts__matched_to_accounts') }}
),

host_counts as (
    select
        coalesce(clean_domain, host_key) as company_key,
        count(*) as host_count
    from hosts
    group by coalesce(clean_domain, host_key)
),

undecided as (
    select
        matches.company_key,
        matches.match_status as review_reason,
        matches.match_confidence,
        candidates.account_id,
        candidates.has_same_domain,
        candidates.has_same_name
    from matches
    inner join candidates
        on matches.company_key = candidates.company_key
    where matches.match_status in ('ambiguous', 'doubtful')
),

-- An account of ours that a person has deleted is not made again; someone should know why.
rejected as (
    select
        matches.company_key,
        'deleted_account' as review_reason,
        null::numeric as match_confidence,
        accounts.account_id,
        true as has_same_domain,
        false as has_same_name
    from matches
    inner join accounts
        on matches.company_key = accounts.meltano_id
    where accounts.is_deleted and matches.match_status = 'unmatched'
),

reviews as (
    select * from undecided

    union all

    select * from rejected
),

final as (
    select
        reviews.company_key || ' ' || reviews.account_id as account_match_review_id,
        reviews.company_key,
        reviews.account_id,
        reviews.review_reason,
        companies.company_name,
        companies.company_source,
        accounts.account_name,
        accounts.account_type,
        accounts.website,
        reviews.has_same_domain,
        reviews.has_same_name,
        reviews.match_confidence,
        coalesce(host_counts.host_count, 0) as host_count
    from reviews
    inner join companies
        on reviews.company_key = companies.company_key
    inner join accounts
        on reviews.account_id = accounts.account_id
    left join host_counts
        on reviews.company_key = host_counts.company_key
)

select * from final
