with

source as (
    select * from {{ raw_table('lever', 'offers') }}
),

final as (
    select
        {{ clean_text('id') }} as offer_id,
        {{ clean_text('opportunity_id') }} as opportunity_id,
        {{ clean_text('status') }} as offer_status,
        {{ clean_text('creator') }} as creator,
        {{ clean_text('posting') }} as posting,
        {{ clean_text('approved') }} as approved,
        fields,
        signatures,
        sent_document,
        signed_document,
        created_at,
        approved_at,
        sent_at,
        opportunity_updated_at,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
