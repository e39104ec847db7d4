with

source as (
    select * from {{ raw_table('enrichment', 'whois_cache') }}
),

final as (
    select
        {{ clean_text('domain') }} as domain,
        {{ clean_text('name') }} as network_name,
        {{ clean_text('description') }} as network_description,
        {{ clean_text('asn_description') }} as asn_description,
        {{ clean_text('country_code') }} as country_code,
        {{ clean_text('method') }} as method,
        {{ clean_text('outcome') }} as outcome,
        raw_answer,
        last_update as fetched_at
    from source
)

select * from final
