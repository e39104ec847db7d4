"""Zuora's billing engine: what is due of subscriptions becomes invoices, by request, by bill runs and by night.

One invoice an account, with an item for every period of every charge; a subscription that wants its own
invoice gets it. Drafts are owed when they are posted. The company's own invoices are its ledger's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import date, timedelta
from decimal import Decimal

from meltano_assets.sandbox.company_catalog import decimal
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_asked import date_in
from meltano_assets.sandbox.zuora_objects import find
from meltano_assets.sandbox.zuora_periods import Span, due, next_due
from meltano_assets.sandbox.zuora_subscriptions import Subscriptions
from meltano_assets.sandbox.zuora_tenant import USER, TenantRecords
from meltano_assets.sandbox.zuora_writes import Refused, missing

_BILLED = ("Active", "Cancelled", "Suspended")
_ZERO = (
    "TaxAmount", "TaxExemptAmount", "AdjustmentAmount", "CreditBalanceAdjustmentAmount",
    "PaymentAmount", "RefundAmount",
)  # fmt: skip


class Billing:
    """The tenant's invoices."""

    def __init__(self, tenant: TenantRecords, subscriptions: Subscriptions) -> None:
        self._tenant = tenant
        self._subscriptions = subscriptions

    def invoice(
        self,
        accounts: Collection[str],
        target: date,
        dated: date,
        *,
        only: Collection[object] | None = None,
        source: tuple[str, str | None] = ("API", None),
        left_out: Collection[str] = (),
        is_draft: bool = False,
    ) -> list[Record]:
        """New invoices over all that is due by the target, of these accounts by their ids.

        ``only`` are subscriptions by their numbers, ``left_out`` types of charges.
        """
        found: dict[tuple[object, object], list[tuple[Record, Record, Span]]] = {}
        for subscription, charge in self._charges(accounts, only):
            if str(charge.get("ChargeType")).lower() not in left_out:
                own = subscription["Name"] if subscription.get("IsInvoiceSeparate") else None
                spans = self._due(subscription, charge, target)
                if spans:
                    lines = found.setdefault((subscription["InvoiceOwnerId"], own), [])
                    lines += [(subscription, charge, span) for span in spans]
        invoices = []
        for (account, _), lines in found.items():
            invoice = self._draft(str(account), lines, target, dated, source)
            invoices.append(invoice if is_draft else self.post(invoice))
        return invoices

    def _charges(
        self, accounts: Collection[str], only: Collection[object] | None
    ) -> list[tuple[Record, Record]]:
        """The charges of the latest versions, each with its subscription."""
        wanted = {
            each["Id"]: each
            for each in self._subscriptions.latest()
            if each["InvoiceOwnerId"] in accounts
            and each["Status"] in _BILLED
            and isinstance(each.get("SubscriptionStartDate"), date)
            and (only is None or each["Name"] in only)
        }
        plans = {
            plan["Id"]: wanted[plan["SubscriptionId"]]
            for plan in self._tenant.rows("RatePlan")
            if plan["SubscriptionId"] in wanted
        }
        return [
            (plans[charge["RatePlanId"]], charge)
            for charge in self._tenant.rows("RatePlanCharge")
            if charge["RatePlanId"] in plans and isinstance(charge["EffectiveStartDate"], date)
        ]

    def _due(self, subscription: Record, charge: Record, target: date) -> list[Span]:
        account = self._tenant.find("Account", subscription["InvoiceOwnerId"]) or {}
        began = charge.get("TriggerDate") or charge["EffectiveStartDate"]
        aligned = {
            "AlignToSubscriptionStart": subscription["SubscriptionStartDate"],
            "AlignToTermStart": subscription.get("TermStartDate"),
        }.get(str(charge.get("BillingPeriodAlignment"))) or began
        start = subscription["SubscriptionStartDate"]
        assert isinstance(aligned, date) and isinstance(began, date) and isinstance(start, date)
        cycle_day = {
            "SpecificDayofMonth": charge.get("BillCycleDay"),
            "SubscriptionStartDay": start.day,
            "ChargeTriggerDay": began.day,
        }.get(str(charge.get("BillCycleType"))) or account.get("BillCycleDay")
        # 0 is an account whose day its first charge decides.
        day = int(str(cycle_day or 0)) or began.day
        price = decimal(self._subscriptions.tier(charge).get("Price"))
        return due(charge, price, max(1, min(day, 31)), aligned, target)

    def _draft(
        self,
        account: str,
        lines: list[tuple[Record, Record, Span]],
        target: date,
        dated: date,
        source: tuple[str, str | None],
    ) -> Record:
        total = sum((span.amount for _, _, span in lines), Decimal(0))
        kinds = {charge.get("ChargeType") for _, charge, _ in lines}
        terms = str((self._tenant.find("Account", account) or {}).get("PaymentTerm"))
        found = re.fullmatch(r"Net (\d{1,3})", terms)
        invoice = self._tenant.create(
            "Invoice",
            {
                **dict.fromkeys(_ZERO, Decimal(0)),
                "InvoiceNumber": self._tenant.number("INV"), "AccountId": account, "Status": "Draft",
                "Source": source[0], "SourceId": source[1], "TransferredToAccounting": "No",
                "Amount": total, "AmountWithoutTax": total, "Balance": Decimal(0),
                "IncludesOneTime": "OneTime" in kinds, "IncludesRecurring": "Recurring" in kinds,
                "IncludesUsage": False, "InvoiceDate": dated, "TargetDate": target,
                "DueDate": dated + timedelta(days=int(found[1]) if found else 0),
            },
        )  # fmt: skip
        for subscription, charge, span in lines:
            self._item(invoice, subscription, charge, span)
            through = charge["EffectiveEndDate"] if span.amount < 0 else span.end
            self._charged_through(charge, through)
        return invoice

    def _item(self, invoice: Record, subscription: Record, charge: Record, span: Span) -> None:
        dated = invoice["InvoiceDate"]
        assert isinstance(dated, date)
        period = next(
            (
                each["Id"]
                for each in self._tenant.rows("AccountingPeriod")
                if _dates(each)[0] <= dated <= _dates(each)[1]
            ),
            None,
        )
        plan = self._tenant.find("RatePlan", charge["RatePlanId"]) or {}
        product = self._tenant.find("Product", plan.get("ProductId")) or {}
        last = span.end - timedelta(days=1)
        self._tenant.create(
            "InvoiceItem",
            {
                "InvoiceId": invoice["Id"], "SubscriptionId": subscription["Id"],
                "RatePlanChargeId": charge["Id"], "ProductId": plan.get("ProductId"),
                "ChargeName": charge["Name"], "SKU": product.get("SKU"),
                "AccountingCode": charge.get("AccountingCode"), "AccountingPeriodId": period,
                "ProcessingType": "Charge", "TaxMode": "TaxExclusive", "UOM": charge.get("UOM"),
                "ChargeAmount": span.amount, "Quantity": charge.get("Quantity"),
                "UnitPrice": decimal(self._subscriptions.tier(charge).get("Price")),
                "TaxAmount": Decimal(0), "TaxExemptAmount": Decimal(0),
                "ServiceStartDate": span.start, "ServiceEndDate": last,
                "RevRecStartDate": span.start, "ChargeDate": self._tenant.now(),
            },
        )  # fmt: skip

    def _charged_through(self, charge: Record, day: object) -> None:
        told = {"ChargedThroughDate": day, "ProcessedThroughDate": day}
        self._tenant.update("RatePlanCharge", str(charge["Id"]), told)

    # What becomes of an invoice

    def known(self, key: str) -> Record:
        """The invoice of that id or number."""
        found = find(self._tenant, "Invoice", key)
        if found is None:
            raise missing("invoice", key)
        return found

    def post(self, invoice: Record, dated: date | None = None) -> Record:
        """A draft is owed from now on."""
        if invoice["Status"] != "Draft":
            raise Refused(
                59210020, f"The invoice {invoice['InvoiceNumber']} is {invoice['Status']}"
            )
        told: Record = {
            "Status": "Posted", "PostedBy": USER, "PostedDate": self._tenant.now(),
            "Balance": invoice["Amount"],
        }  # fmt: skip
        if dated is not None:
            told["InvoiceDate"] = dated
        posted = self._tenant.update("Invoice", str(invoice["Id"]), told)
        self._owe(posted, decimal(posted["Amount"]), LastInvoiceDate=posted["InvoiceDate"])
        return posted

    def turn(self, invoice: Record, status: str) -> Record:
        """An invoice becomes ``Posted``, ``Draft`` again or ``Canceled``."""
        if status == "Posted":
            return self.post(invoice)
        if status in ("Canceled", "Cancelled"):
            return self.cancel(invoice)
        if status != "Draft":
            raise Refused(59210040, f"The value {status} of Status is invalid")
        if invoice["Status"] != "Posted" or decimal(invoice["Balance"]) != invoice["Amount"]:
            raise Refused(
                59210050, f"The invoice {invoice['InvoiceNumber']} cannot become a draft again"
            )
        self._owe(invoice, -decimal(invoice["Amount"]))
        told: Record = {
            "Status": "Draft", "Balance": Decimal(0), "PostedBy": None, "PostedDate": None,
        }  # fmt: skip
        return self._tenant.update("Invoice", str(invoice["Id"]), told)

    def _owe(self, invoice: Record, amount: Decimal, **fields: object) -> None:
        account = self._tenant.find("Account", invoice["AccountId"]) or {}
        for name in ("Balance", "TotalInvoiceBalance"):
            fields[name] = decimal(account.get(name)) + amount
        self._tenant.update("Account", str(invoice["AccountId"]), fields)

    def cancel(self, invoice: Record) -> Record:
        """A draft is given up: what it billed is due again."""
        if invoice["Status"] != "Draft":
            raise Refused(
                59210030, f"The invoice {invoice['InvoiceNumber']} is {invoice['Status']}"
            )
        for item in self._tenant.rows("InvoiceItem"):
            if item["InvoiceId"] == invoice["Id"]:
                self._due_again(item)
        return self._tenant.update("Invoice", str(invoice["Id"]), {"Status": "Canceled"})

    def _due_again(self, item: Record) -> None:
        billed = self._tenant.find("RatePlanCharge", item["RatePlanChargeId"]) or {}
        start, end = item["ServiceStartDate"], item["ServiceEndDate"]
        assert isinstance(start, date) and isinstance(end, date)
        mark = ("ChargeNumber", "Segment")
        for charge in self._tenant.rows("RatePlanCharge"):
            if all(charge.get(name) == billed.get(name) for name in mark):
                through = charge.get("ChargedThroughDate")
                if decimal(item["ChargeAmount"]) < 0:
                    later = end + timedelta(days=1)
                    self._charged_through(
                        charge, max(later, through) if isinstance(through, date) else later
                    )
                elif isinstance(through, date) and through > start:
                    is_first = start <= _dates(charge, "EffectiveStartDate")[0]
                    self._charged_through(charge, None if is_first else start)

    def collect(self, invoices: Collection[Record]) -> Record | None:
        """A payment by the account's default payment method; None where it has none, or nothing is owed."""
        owed = [i for i in invoices if i["Status"] == "Posted" and decimal(i["Balance"]) > 0]
        account = self._tenant.find("Account", owed[0]["AccountId"]) or {} if owed else {}
        if not account.get("DefaultPaymentMethodId"):
            return None
        payment = self._tenant.create(
            "Payment",
            {
                "PaymentNumber": self._tenant.number("P-"), "AccountId": account["Id"],
                "Type": "Electronic", "Status": "Processed", "Source": "API", "AccountingCode": "Cash",
                "GatewayState": "Settled", "GatewayResponse": "Approved", "GatewayResponseCode": "100",
                "PaymentMethodId": account["DefaultPaymentMethodId"], "TransferredToAccounting": "No",
                "Amount": sum((decimal(i["Balance"]) for i in owed), Decimal(0)),
                "AppliedCreditBalanceAmount": Decimal(0), "RefundAmount": Decimal(0),
                "EffectiveDate": self._tenant.now().date(), "SubmittedOn": self._tenant.now(),
            },
        )  # fmt: skip
        for invoice in owed:
            amount = decimal(invoice["Balance"])
            link = {"InvoiceId": invoice["Id"], "PaymentId": payment["Id"]}
            told = {**link, "Amount": amount, "RefundAmount": Decimal(0)}
            self._tenant.create("InvoicePayment", told)
            settled = {"Balance": Decimal(0), "PaymentAmount": amount}
            self._tenant.update("Invoice", str(invoice["Id"]), settled)
            self._owe(invoice, -amount)
        return payment

    # Nights

    def renew(self, subscription: Record) -> None:
        """Another term for a subscription that renews by itself."""
        if _renews(subscription):
            self._subscriptions.change(str(subscription["Name"]), "RenewSubscription", {})

    def catch_up(self) -> bool:
        """The nightly bill runs up to the present, with renewals; whether there was anything."""
        today, has_done = self._tenant.now().date(), False
        while self._tenant.billed_on < today:
            made = {each["Name"] for each in self._tenant.made("Subscription")}
            latest = [each for each in self._subscriptions.latest() if each["Name"] in made]
            ends = [(each["TermEndDate"], each) for each in latest if _renews(each)]
            owners = {str(each["InvoiceOwnerId"]) for each in latest}
            waiting = [next_due(charge) for _, charge in self._charges(owners, made)]
            days = [day for day in (*waiting, *(end for end, _ in ends)) if isinstance(day, date)]
            night = max(min(days, default=today), self._tenant.billed_on + timedelta(days=1))
            if not days or night > today:
                self._tenant.billed_on = today
                break
            with self._tenant.night_of(night):
                for end, subscription in ends:
                    if isinstance(end, date) and end <= night:
                        self.renew(subscription)
                run = self._tenant.number("BR-")
                self.invoice(owners, night, night, only=made, source=("BillRun", run))
            self._tenant.billed_on, has_done = night, True
        return has_done


def wants_billing(told: Mapping[str, object]) -> bool:
    """Does a request that sells also ask for an invoice? Each name had its time."""
    named = next((n for n in ("runBilling", "invoice", "invoiceCollect") if n in told), None)
    return named is not None and told[named] is True


def target_of(told: Mapping[str, object], today: date) -> date:
    """Up to which day a request wants to be billed."""
    return date_in(told, "targetDate", date_in(told, "invoiceTargetDate", today))


def _renews(subscription: Record) -> bool:
    is_on = subscription["Status"] == "Active" and bool(subscription.get("AutoRenew"))
    return is_on and isinstance(subscription.get("TermEndDate"), date)


def _dates(record: Record, *names: str) -> list[date]:
    found = [record[name] for name in names or ("StartDate", "EndDate")]
    return [day for day in found if isinstance(day, date)]
