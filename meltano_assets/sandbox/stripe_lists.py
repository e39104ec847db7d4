"""Stripe's lists: which there are, what each can be narrowed by, and how."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Sequence

from starlette.datastructures import QueryParams

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.stripe_books import items_of
from meltano_assets.sandbox.stripe_wire import Problem, created, newest_first

#: Path of a list → the kind of object in it.
LISTS = {
    "balance_transactions": "balance_transaction",
    "charges": "charge",
    "checkout/sessions": "checkout.session",
    "coupons": "coupon",
    "credit_notes": "credit_note",
    "customers": "customer",
    "disputes": "dispute",
    "invoiceitems": "invoiceitem",
    "invoices": "invoice",
    "payment_intents": "payment_intent",
    "payment_links": "payment_link",
    "payment_methods": "payment_method",
    "payouts": "payout",
    "plans": "plan",
    "prices": "price",
    "products": "product",
    "promotion_codes": "promotion_code",
    "quotes": "quote",
    "refunds": "refund",
    "setup_intents": "setup_intent",
    "shipping_rates": "shipping_rate",
    "subscription_schedules": "subscription_schedule",
    "subscriptions": "subscription",
    "tax_rates": "tax_rate",
    "webhook_endpoints": "webhook_endpoint",
}
#: Lists of a customer's own → the kind of object in them.
OWNED = {"balance_transactions": "customer_balance_transaction", "tax_ids": "tax_id"}
#: Lists that grow by what happens, and take nothing from clients.
READ_ONLY = {"balance_transactions", "payouts"}
#: Lists of the real service that hold nothing here → the kind of object in them.
EMPTY_LISTS = {
    "application_fees": "application_fee",
    "apple_pay/domains": "apple_pay_domain",
    "apps/secrets": "secret",
    "billing/alerts": "alert",
    "billing/credit_balance_transactions": "credit_balance_transaction",
    "billing/credit_grants": "credit_grant",
    "billing/meters": "meter",
    "billing_portal/configurations": "configuration",
    "climate/orders": "climate.order",
    "climate/products": "climate.product",
    "climate/suppliers": "climate.supplier",
    "country_specs": "country_spec",
    "entitlements/active_entitlements": "active_entitlement",
    "entitlements/features": "feature",
    "exchange_rates": "exchange_rate",
    "file_links": "file_link",
    "files": "file",
    "financial_connections/accounts": "account",
    "forwarding/requests": "request",
    "identity/verification_reports": "verification_report",
    "identity/verification_sessions": "verification_session",
    "invoice_rendering_templates": "invoice_rendering_template",
    "payment_records": "payment_record",
    "payment_method_configurations": "payment_method_configuration",
    "payment_method_domains": "payment_method_domain",
    "radar/early_fraud_warnings": "early_fraud_warning",
    "radar/value_list_items": "value_list_item",
    "radar/value_lists": "value_list",
    "reporting/report_runs": "report_run",
    "reporting/report_types": "report_type",
    "reviews": "review",
    "sigma/scheduled_query_runs": "scheduled_query_run",
    "tax/registrations": "tax_registration",
    "tax_codes": "tax_code",
    "tax_ids": "tax_id",
    "terminal/configurations": "configuration",
    "terminal/locations": "location",
    "terminal/readers": "reader",
    "test_helpers/test_clocks": "test_clock",
    "topups": "topup",
    "transfers": "transfer",
}
#: Lists inside an object of that path that hold nothing here.
EMPTY_PARTS = {
    "customers": ("cash_balance_transactions", "bank_accounts"),
    "products": ("features",),
    "subscription_items": ("usage_record_summaries",),
}
#: Parts of the service that the account has not been let in to → what it is told.
CLOSED = {"issuing": "Issuing", "treasury": "Treasury"}
#: What lists that hold nothing take; others say it below.
ANY_FILTERS = (
    "charge created currency customer invoice payment_intent product status subscription type purpose "
    "arrival_date destination payout source transfer_group active code coupon file user session "
    "value value_list is_account_default"
)
#: Path of a list → what it can be narrowed by, besides the page.
FILTERS = {
    "balance_transactions": "created currency payout source type",
    "charges": "created customer payment_intent transfer_group",
    "checkout/sessions": "created customer customer_details payment_intent payment_link status "
    "subscription",
    "checkout/sessions/line_items": "",
    "coupons": "created",
    "credit_notes": "created customer invoice",
    "credit_notes/lines": "",
    "credit_notes/preview/lines": "amount credit_amount effective_at email_type invoice lines memo "
    "metadata out_of_band_amount reason refund refund_amount refunds shipping_cost",
    "customers": "created email test_clock",
    "customers/balance_transactions": "created invoice",
    "customers/tax_ids": "",
    "customers/sources": "object",
    "customers/subscriptions": "",
    "invoices/upcoming/lines": "customer invoice_items subscription subscription_items "
    "subscription_cancel_at_period_end subscription_proration_behavior "
    "subscription_proration_date subscription_trial_end",
    "charges/refunds": "",
    "customers/payment_methods": "type allow_redisplay",
    "disputes": "charge created payment_intent",
    "events": "created delivery_success type types related_object",
    "invoiceitems": "created customer invoice pending",
    "invoices": "collection_method created customer due_date status subscription",
    "invoice_payments": "invoice payment status",
    "invoices/lines": "",
    "payment_intents": "created customer",
    "payment_links": "active",
    "payment_links/line_items": "",
    "payment_methods": "customer type allow_redisplay",
    "payouts": "arrival_date created destination status",
    "plans": "active created product",
    "prices": "active created currency lookup_keys product recurring type",
    "products": "active created ids shippable type url",
    "promotion_codes": "active code coupon created customer",
    "quotes": "customer status test_clock",
    "quotes/line_items": "",
    "quotes/computed_upfront_line_items": "",
    "refunds": "charge created payment_intent",
    "setup_attempts": "created setup_intent",
    "setup_intents": "attach_to_self created customer payment_method",
    "shipping_rates": "active created currency",
    "subscription_items": "subscription",
    "subscription_schedules": "canceled_at completed_at created customer released_at scheduled",
    "subscriptions": "automatic_tax collection_method created current_period_end "
    "current_period_start customer plan price status test_clock",
    "tax_rates": "active created inclusive",
    "webhook_endpoints": "",
}
OF_PAGES = {"ending_before", "expand", "limit", "starting_after", "include"}


_SIGNS: dict[str | None, Callable[[int, int], bool]] = {
    None: operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


def stem(name: str) -> str:
    """The first step of a parameter's name."""
    return name.partition("[")[0].partition(".")[0]


def chosen(records: Iterable[Record], kind: str, query: QueryParams) -> list[Record]:
    """The records that fit the parameters, the newest first."""
    for name in (
        "charge",
        "code",
        "collection_method",
        "currency",
        "customer",
        "destination",
        "email",
        "invoice",
        "payment_intent",
        "payment_method",
        "product",
        "source",
        "subscription",
        "transfer_group",
        "type",
        "url",
    ):
        if name in query:
            records = [r for r in records if r.get(name) == query[name]]
    if "payout" in query:
        records = [r for r in records if r.get("_payout") == query["payout"]]
    if "coupon" in query:
        records = [r for r in records if _id(r.get("coupon")) == query["coupon"]]
    for name in ("active", "inclusive", "shippable"):
        if name in query:
            records = [
                r for r in records if (r.get(name) is True) == (query[name].lower() == "true")
            ]
    for name, field in (("ids", "id"), ("lookup_keys", "lookup_key")):
        wanted = {v for k, v in query.multi_items() if stem(k) == name}
        if wanted:
            records = [r for r in records if r.get(field) in wanted]
    if "pending" in query:
        is_pending = query["pending"].lower() == "true"
        records = [r for r in records if (r.get("invoice") is None) == is_pending]
    if price := query.get("price") or query.get("plan"):
        records = [r for r in records if _has_price(r, price)]
    status = query.get("status")
    if kind == "subscription":
        # Cancelled ones come only when asked for.
        if status == "ended":
            records = [r for r in records if r["status"] in ("canceled", "incomplete_expired")]
        elif status not in (None, "all"):
            records = [r for r in records if r["status"] == status]
        elif status is None:
            records = [r for r in records if r["status"] != "canceled"]
    elif status is not None:
        records = [r for r in records if r.get("status") == status]
    return newest_first(records)


def within(records: Sequence[Record], params: Iterable[tuple[str, str]]) -> Sequence[Record]:
    """The records whose ``created`` and ``arrival_date`` fit."""
    for name, text in params:
        if stem(name) not in ("created", "arrival_date"):
            continue
        found = re.fullmatch(r"(created|arrival_date)(?:\[(gt|gte|lt|lte)\])?", name)
        if found is None:
            message = f"Received unknown parameter: {name}"
            raise Problem(400, message, "parameter_unknown", name)
        if not is_number(text):
            raise Problem(400, f"Invalid timestamp: {text}", "parameter_invalid_integer", name)
        bound = int(text)
        fits = _SIGNS[found[2]]
        field = found[1]
        times = (created(r) if field == "created" else int(str(r[field])) for r in records)
        records = [r for r, at in zip(records, times, strict=True) if fits(at, bound)]
    return records


def _has_price(subscription: Record, price: str) -> bool:
    for item in items_of(subscription.get("items")):
        held = item["price"]
        if isinstance(held, dict) and held["id"] == price:
            return True
    return False


def _id(held: object) -> object:
    return held.get("id") if isinstance(held, dict) else held
