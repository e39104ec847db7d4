{{ config(meta={'dagster': {'ref': {'name': 'fct_opportunities'}}}) }}

with

counts as (
    select
        (
            select count(*)
            from {{ ref('stg_salesforce__opportunities') }}
            where not is_deleted
        ) as staged,
        (select count(*) from {{ ref('fct_opportunities') }}) as in_mart
)

select *
from counts
where staged <> in_mart
