with

source as (
    select * from {{ raw_table('version', 'fortune_companies') }}
),

final as (
    select
        id as fortune_company_id,
        {{ clean_text('company') }} as company,
        {{ clean_text('domain') }} as domain,
        rank,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
