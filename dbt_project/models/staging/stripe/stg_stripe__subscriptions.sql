with

source as (
    select * from {{ raw_table('stripe', 'subscriptions') }}
),

final as (
    select
        {{ clean_text('id') }} as subscription_id,
        {{ clean_text('collection_method') }} as collection_method,
        {{ clean_text('currency') }} as currency,
        {{ clean_text('customer') }} as customer,
        {{ clean_text('default_payment_method') }} as default_payment_method,
        {{ clean_text('default_source') }} as default_source,
        {{ clean_text('description') }} as subscription_description,
        {{ clean_text('latest_invoice') }} as latest_invoice,
        {{ clean_text('on_behalf_of') }} as on_behalf_of,
        {{ clean_text('pending_setup_intent') }} as pending_setup_intent,
        {{ clean_text('schedule') }} as schedule,
        {{ clean_text('status') }} as subscription_status,
        {{ clean_text('test_clock') }} as test_clock,
        cancel_at_period_end as is_cancel_at_period_end,
        livemode as is_livemode,
        automatic_tax,
        billing_thresholds,
        cancellation_details,
        default_tax_rates,
        discount,
        discounts,
        items,
        pause_collection,
        payment_settings,
        plan,
        trial_settings,
        metadata,
        days_until_due,
        quantity,
        created,
        billing_cycle_anchor,
        cancel_at,
        canceled_at,
        current_period_end,
        current_period_start,
        ended_at,
        start_date as start_at,
        trial_end,
        trial_start,
        as_of,
        {{ is_deleted() }} as is_deleted,
        _loaded_at as loaded_at
    from source
)

select * from final
