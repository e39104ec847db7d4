with

source as (
    select * from {{ raw_table('enrichment', 'reverse_dns_cache') }}
),

final as (
    select
        {{ clean_text('ip') }} as ip,
        {{ clean_text('host_name') }} as host_name,
        {{ clean_text('clean_domain') }} as clean_domain,
        {{ clean_text('clean_full_domain') }} as clean_full_domain,
        {{ clean_text('outcome') }} as outcome,
        last_update as fetched_at
    from source
)

select * from final
