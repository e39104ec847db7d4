with

source as (
    select * from {{ raw_table('zuora', 'communication_profiles') }}
),

final as (
    select
        {{ clean_text('id') }} as communication_profile_id,
        {{ clean_text('created_by_id') }} as created_by_id,
        {{ clean_text('updated_by_id') }} as updated_by_id,
        {{ clean_text('profile_name') }} as profile_name,
        {{ clean_text('description') }} as communication_profile_description,
        created_date as created_at,
        updated_date as updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
