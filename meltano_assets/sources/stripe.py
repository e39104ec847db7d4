"""Stripe: payments of customers who serve themselves.

Amounts are whole numbers in the currency's smallest unit (cents; yen have none), next to
``currency``; times are seconds since 1970 at Stripe and times in the warehouse.
"""

from __future__ import annotations

from datetime import timedelta

from meltano_assets.streams import Column, ColumnType, Stream

#: Events are written after the change that they tell of, sometimes minutes after.
LOOKBACK = timedelta(minutes=15)


def _columns(kind: ColumnType, names: str, *, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_pii=is_pii) for name in names.split())


def _stream(
    name: str,
    description: str,
    *,
    text: str = "",
    personal: str = "",
    integer: str = "",
    amount: str = "",
    boolean: str = "",
    time: str = "",
    nested: str = "",
    personal_nested: str = "",
) -> Stream:
    return Stream(
        source="stripe",
        name=name,
        description=description,
        columns=(
            *_columns("text", f"id {text}"),
            *_columns("text", personal, is_pii=True),
            *_columns("bigint", f"{integer} {amount}"),
            *_columns("boolean", f"{boolean} livemode"),
            *_columns("jsonb", f"{nested} metadata"),
            *_columns("jsonb", personal_nested, is_pii=True),
            *_columns("timestamptz", f"created {time}"),
            Column(
                "as_of",
                "timestamptz",
                "When Stripe had it so: the time of the event that told of it, or of the listing.",
            ),
        ),
        primary_key=("id",),
        replication_key="as_of",
        lookback=LOOKBACK,
    )


STREAMS: tuple[Stream, ...] = (
    _stream(
        "charges",
        "Attempts to take money, successful or not.",
        text="""application application_fee balance_transaction currency customer description
            destination dispute failure_balance_transaction failure_code failure_message invoice
            on_behalf_of order payment_intent payment_method receipt_number review
            source_transfer statement_descriptor statement_descriptor_suffix status transfer
            transfer_group""",
        personal="receipt_email",
        amount="amount amount_captured amount_refunded application_fee_amount",
        boolean="captured disputed paid refunded",
        nested="fraud_details outcome payment_method_details refunds transfer_data",
        personal_nested="billing_details shipping",
    ),
    _stream(
        "customers",
        "Those who pay.",
        text="""currency default_source invoice_prefix tax_exempt test_clock""",
        personal="description email name phone",
        integer="next_invoice_sequence",
        amount="account_balance balance",
        boolean="delinquent",
        nested="discount invoice_settings preferred_locales subscriptions",
        personal_nested="address shipping",
    ),
    _stream(
        "disputes",
        "Charges that the payer contests at the bank.",
        text="charge currency network_reason_code payment_intent reason status",
        amount="amount",
        boolean="is_charge_refundable",
        nested="balance_transactions evidence_details payment_method_details",
    ),
    _stream(
        "products",
        "What is sold to customers who serve themselves.",
        text="""caption default_price description name statement_descriptor tax_code type
            unit_label url""",
        boolean="active shippable",
        time="updated",
        nested="attributes deactivate_on images package_dimensions",
    ),
    _stream(
        "refunds",
        "Money paid back.",
        text="""balance_transaction charge currency description failure_balance_transaction
            failure_reason payment_intent reason receipt_number source_transfer_reversal status
            transfer_reversal""",
        amount="amount",
        nested="destination_details next_action",
    ),
    _stream(
        "invoices",
        "Invoices with all their lines.",
        text="""account_country account_name billing_reason charge collection_method currency
            customer customer_tax_exempt default_payment_method default_source description footer
            number on_behalf_of payment_intent receipt_number statement_descriptor status
            subscription test_clock""",
        personal="customer_email customer_name customer_phone hosted_invoice_url invoice_pdf",
        integer="attempt_count",
        amount="""amount_due amount_paid amount_remaining amount_shipping ending_balance
            post_payment_credit_notes_amount pre_payment_credit_notes_amount starting_balance
            subtotal subtotal_excluding_tax tax total total_excluding_tax""",
        boolean="attempted auto_advance paid paid_out_of_band",
        time="""due_date effective_at next_payment_attempt period_end period_start
            webhooks_delivered_at""",
        nested="""automatic_tax custom_fields default_tax_rates discount discounts lines
            payment_settings status_transitions total_discount_amounts total_tax_amounts""",
        personal_nested="customer_address customer_shipping customer_tax_ids",
    ),
    _stream(
        "subscriptions",
        "Subscriptions with all their items, cancelled ones too.",
        text="""collection_method currency customer default_payment_method default_source
            description latest_invoice on_behalf_of pending_setup_intent schedule status
            test_clock""",
        integer="days_until_due quantity",
        boolean="cancel_at_period_end",
        time="""billing_cycle_anchor cancel_at canceled_at current_period_end
            current_period_start ended_at start_date trial_end trial_start""",
        nested="""automatic_tax billing_thresholds cancellation_details default_tax_rates discount
            discounts items pause_collection payment_settings plan trial_settings""",
    ),
)
