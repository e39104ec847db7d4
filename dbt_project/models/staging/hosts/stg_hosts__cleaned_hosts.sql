with

source as (
    select * from {{ raw_table('hosts', 'cleaned_hosts') }}
),

final as (
    select
        raw_host,
        {{ clean_text('kind') }} as host_kind,
        {{ clean_text('subdomain') }} as subdomain,
        {{ clean_text('domain') }} as domain_label,
        {{ clean_text('suffix') }} as public_suffix,
        {{ clean_text('clean_domain') }} as clean_domain,
        {{ clean_text('clean_full_domain') }} as clean_full_domain,
        last_pinged_at,
        cleaned_at
    from source
)

select * from final
