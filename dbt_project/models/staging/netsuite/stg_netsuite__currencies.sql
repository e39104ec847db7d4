with

source as (
    select * from {{ raw_table('netsuite', 'currencies') }}
),

final as (
    select
        internal_id as currency_id,
        {{ clean_text('external_id') }} as external_id,
        {{ clean_text('name') }} as currency_name,
        {{ clean_text('symbol') }} as symbol,
        {{ clean_text('display_symbol') }} as display_symbol,
        {{ clean_text('symbol_placement') }} as symbol_placement,
        {{ clean_text('locale') }} as locale,
        {{ clean_text('format_sample') }} as format_sample,
        {{ clean_text('fx_rate_update_timezone') }} as fx_rate_update_timezone,
        {{ clean_text('currency_precision') }} as currency_precision,
        is_base_currency,
        is_inactive,
        override_currency_format as is_override_currency_format,
        incl_in_fx_rate_updates as is_incl_in_fx_rate_updates,
        exchange_rate,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
