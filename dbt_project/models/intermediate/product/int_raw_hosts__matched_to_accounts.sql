{{ config(indexes=[{'columns': ['raw_host'], 'unique': true}]) }}

with

cleaned_hosts as (
    select * from {{ ref('stg_hosts__cleaned_hosts') }}
),

matches as (
    select * from {{ ref('int_companies__matched_to_accounts') }}
),

final as (
    select
        cleaned_hosts.raw_host,
        case
            when cleaned_hosts.host_kind in ('domain', 'ipv4', 'ipv6')
                then cleaned_hosts.clean_full_domain
        end as host_key,
        matches.account_id
    from cleaned_hosts
    left join matches
        on
            coalesce(
                case
                    when cleaned_hosts.host_kind = 'domain' then cleaned_hosts.clean_domain
                end,
                cleaned_hosts.clean_full_domain
            ) = matches.company_key
)

select * from final
