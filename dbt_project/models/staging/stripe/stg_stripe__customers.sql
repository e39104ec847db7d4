with

source as (
    select * from {{ raw_table('stripe', 'customers') }}
),

final as (
    select
        {{ clean_text('id') }} as customer_id,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('default_source') }} as default_source,
        {{ clean_text('invoice_prefix') }} as invoice_prefix,
        {{ clean_text('tax_exempt') }} as tax_exempt,
        {{ clean_text('test_clock') }} as test_clock,
        {{ clean_text('description') }} as customer_description,
        {{ clean_text('email') }} as email,
        {{ clean_text('name') }} as customer_name,
        {{ clean_text('phone') }} as phone,
        delinquent as is_delinquent,
        livemode as is_livemode,
        discount,
        invoice_settings,
        preferred_locales,
        subscriptions,
        metadata,
        address,
        shipping,
        next_invoice_sequence,
        account_balance,
        balance,
        created,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
