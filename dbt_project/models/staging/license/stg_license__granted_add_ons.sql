with

source as (
    select * from {{ raw_table('license', 'granted_add_ons') }}
),

final as (
    select
        id as granted_add_on_id,
        license_id,
        add_on_id,
        quantity,
        created_at,
        updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
