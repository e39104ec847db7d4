with

source as (
    select * from {{ raw_table('version', 'hosts') }}
),

final as (
    select
        id as host_id,
        {{ clean_text('url') }} as url,
        star as is_star,
        in_salesforce as is_in_salesforce,
        fortune_rank,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
