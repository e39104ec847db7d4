"""Stripe's streams: where each is listed, which events tell of its objects, and its columns.

Objects do not say when they changed; ``as_of`` is the time of the event that told of it, or the
object's creation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from meltano_assets.streams import Column, ColumnType, Stream

#: Events are written after the change that they tell of, sometimes minutes after.
LOOKBACK = timedelta(minutes=15)
#: How long money may be pending (a new account's the longest): no event tells when it no longer is.
PENDING = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a stream is: the list's path, the kind of its objects, the events that tell of them.

    ``deleted`` is the event of a delete; ``nested`` names the lists inside an object and where the
    rest of them is (``{id}`` stands for the object's). ``members`` names lists of ids that the object has
    not, and where the members are; Stripe knows them of what it made by itself (``automatic``). Where no
    event tells of a kind, only the list is read, from so long ago as its objects still change.
    """

    path: str
    kind: str
    events: tuple[str, ...]
    deleted: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    nested: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_completed(self) -> bool:
        """Whether there is more of an object than its list shows."""
        return bool(self.nested or self.members)


def _events(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


_LISTINGS = {
    "balance_transactions": Listing("/v1/balance_transactions", "balance_transaction", ()),
    "charges": Listing(
        "/v1/charges",
        "charge",
        _events("charge", "captured expired failed pending refunded succeeded updated"),
    ),
    "customers": Listing(
        "/v1/customers",
        "customer",
        _events("customer", "created updated deleted"),
        deleted="customer.deleted",
    ),
    "disputes": Listing(
        "/v1/disputes",
        "dispute",
        _events("charge.dispute", "created updated closed funds_reinstated funds_withdrawn"),
    ),
    "products": Listing(
        "/v1/products",
        "product",
        _events("product", "created updated deleted"),
        deleted="product.deleted",
    ),
    "refunds": Listing(
        "/v1/refunds",
        "refund",
        (*_events("refund", "created updated failed"), "charge.refund.updated"),
    ),
    "payouts": Listing(
        "/v1/payouts",
        "payout",
        _events("payout", "canceled created failed paid reconciliation_completed updated"),
        members={"balance_transactions": "/v1/balance_transactions?payout={id}"},
    ),
    "invoices": Listing(
        "/v1/invoices",
        "invoice",
        # Not invoice.upcoming, which is of an invoice that is not there yet.
        _events(
            "invoice",
            "created updated deleted finalized finalization_failed marked_uncollectible overdue paid"
            " payment_action_required payment_failed payment_succeeded sent voided will_be_due",
        ),
        deleted="invoice.deleted",
        nested={"lines": "/v1/invoices/{id}/lines"},
    ),
    "subscriptions": Listing(
        "/v1/subscriptions",
        "subscription",
        # "deleted" means cancelled: the subscription stays.
        _events(
            "customer.subscription",
            "created updated deleted paused resumed pending_update_applied pending_update_expired"
            " trial_will_end",
        ),
        params={"status": "all"},
        nested={"items": "/v1/subscription_items?subscription={id}"},
    ),
}


def _columns(kind: ColumnType, names: str, *, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(name, kind, is_pii=is_pii) for name in names.split())


def _stream(
    name: str,
    description: str,
    *,
    text: str = "",
    personal: str = "",
    integer: str = "",
    numeric: str = "",
    amount: str = "",
    boolean: str = "",
    time: str = "",
    nested: str = "",
    personal_nested: str = "",
    is_configurable: bool = True,
) -> Stream:
    """``is_configurable``: whether the objects have a mode and what clients note on them."""
    return Stream(
        source="stripe",
        name=name,
        description=description,
        columns=(
            *_columns("text", f"id {text}"),
            *_columns("text", personal, is_pii=True),
            *_columns("bigint", f"{integer} {amount}"),
            *_columns("numeric", numeric),
            *_columns("boolean", f"{boolean} livemode" if is_configurable else boolean),
            *_columns("jsonb", f"{nested} metadata" if is_configurable else nested),
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
        lookback=LOOKBACK if _LISTINGS[name].events else PENDING,
        options={"listing": _LISTINGS[name]},
    )


STREAMS: tuple[Stream, ...] = (
    _stream(
        "balance_transactions",
        "What moved the account's balance: charges, refunds, disputes, fees, payouts.",
        text="currency description reporting_category source status type",
        amount="amount fee net",
        numeric="exchange_rate",
        time="available_on",
        nested="fee_details",
        is_configurable=False,
    ),
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
        "payouts",
        "Money sent to the bank account, with the balance transactions that it is made of.",
        text="""application_fee balance_transaction currency description destination
            failure_balance_transaction failure_code failure_message method original_payout
            reconciliation_status reversed_by source_type statement_descriptor status type""",
        amount="amount application_fee_amount",
        boolean="automatic",
        time="arrival_date",
        nested="balance_transactions",
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
        nested="""automatic_tax default_tax_rates discount discounts lines
            payment_settings status_transitions total_discount_amounts total_tax_amounts""",
        personal_nested="custom_fields customer_address customer_shipping customer_tax_ids",
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
