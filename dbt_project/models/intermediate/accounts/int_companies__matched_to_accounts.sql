{{ config(indexes=[{'columns': ['company_key'], 'unique': True}]) }}

with

companies as (
    select * from {{ ref('int_companies__by_domain') }}
),

candidates as (
    select * from {{ ref('int_companies__matching_candidates') }}
),

hierarchies as (
    select * from {{ ref('int_accounts__rooted') }}
),

counted as (
    select
        candidates.company_key,
        min(candidates.account_id) filter (where candidates.is_own) as own_account_id,
        count(*) filter (where candidates.has_same_domain) as domain_count,
        count(*) filter (where candidates.has_same_name) as name_count,
        min(candidates.account_id) filter (where candidates.has_same_domain) as domain_account_id,
        min(candidates.account_id) filter (where candidates.has_same_name) as name_account_id,
        bool_or(candidates.has_other_website) filter (
            where candidates.has_same_name
        ) as has_other_website,
        -- A parent whose subsidiaries give its website as theirs.
        case
            when
                count(distinct hierarchies.ultimate_parent_account_id) filter (
                    where candidates.has_same_domain
                ) = 1
                and not bool_or(hierarchies.is_in_circle)
                then
                    min(candidates.account_id) filter (
                        where
                        candidates.has_same_domain
                        and candidates.account_id = hierarchies.ultimate_parent_account_id
                    )
        end as head_account_id
    from candidates
    left join hierarchies
        on candidates.account_id = hierarchies.account_id
    group by candidates.company_key
),

-- The account's domain decides; the name only where no account has the domain.
decided as (
    select
        companies.company_key,
        companies.domain_class,
        companies.is_excluded_name,
        companies.is_address,
        coalesce(counted.domain_count, 0) as domain_count,
        coalesce(counted.name_count, 0) as name_count,
        case
            when counted.own_account_id is not null then 'meltano_id'
            when counted.domain_count = 1 then 'domain'
            when counted.domain_count > 1 and counted.head_account_id is not null
                then 'domain_of_parent'
            when counted.domain_count > 1 then null
            when counted.name_count = 1 then 'name'
        end as match_method,
        case
            when counted.own_account_id is not null then counted.own_account_id
            when counted.domain_count = 1 then counted.domain_account_id
            when counted.domain_count > 1 then counted.head_account_id
            when counted.name_count = 1 then counted.name_account_id
        end as candidate_account_id,
        -- An address is tied to its domain or name by a registry's word only.
        case
            when counted.own_account_id is not null or counted.domain_count = 1 then 1.0
            when counted.domain_count > 1 and counted.head_account_id is not null then 0.9
            when counted.domain_count > 1 then null
            when counted.name_count = 1 and not counted.has_other_website then 0.8
            when counted.name_count = 1 then 0.6
        end
        - case when companies.is_address then 0.1 else 0.0 end as match_confidence
    from companies
    left join counted
        on companies.company_key = counted.company_key
),

final as (
    select
        company_key,
        case
            when match_confidence >= {{ var('match_min_confidence') }} then candidate_account_id
        end as account_id,
        match_method,
        match_confidence,
        domain_count,
        name_count,
        case
            when domain_class = 'excluded' or is_excluded_name then 'excluded'
            when match_confidence >= {{ var('match_min_confidence') }} then 'matched'
            when match_method is not null then 'doubtful'
            when domain_count > 1 or name_count > 1 then 'ambiguous'
            when domain_class not in ('company', 'address') then 'shared_domain'
            else 'unmatched'
        end as match_status
    from decided
)

select * from final
