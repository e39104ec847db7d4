"""The books of the billing side: charges, invoices, payments and what undoes them.

Called by ``company_billing.BillingDesk``, which keeps the records and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_catalog import Catalog, decimal, money, month_of
from meltano_assets.sandbox.company_revenue import Revenue
from meltano_assets.sandbox.company_sales import Record

if TYPE_CHECKING:
    from meltano_assets.sandbox.company_billing import BillingDesk, Subscription

_FAR = date(2099, 12, 31)
#: One invoice line in so many has its revenue spread over months.
_REVENUE_EVERY = 4


class Ledger:
    """Writes what Zuora's billing engine and its accountants would."""

    def __init__(self, desk: BillingDesk) -> None:
        self._desk = desk
        self.catalog = Catalog(desk)
        self._revenue = Revenue(desk, self.catalog)
        self._lines: dict[str, list[str]] = {}
        self._payments: dict[str, list[str]] = {}
        self._drafts: list[str] = []
        self.template = desk.new_id()

    # Plans and charges of a subscription's version

    def charge(self, subscription: Subscription, at: float) -> None:
        """The version's rate plans with all segments of their charges."""
        put = self._desk.put
        product, plan, plan_charge = self.catalog.plans[subscription.plan]
        rate_plan = put(
            "RatePlan",
            at,
            Name=subscription.plan,
            SubscriptionId=subscription.record,
            ProductId=product,
            ProductRatePlanId=plan,
            AmendmentType="UpdateProduct" if len(subscription.segments) > 1 else None,
        )
        subscription.charges = []
        for place, segment in enumerate(subscription.segments):
            key = self._desk.new_id()
            original = subscription.first_charges.setdefault(0, key)
            has_ended = segment.end <= segment.start
            put(
                "RatePlanCharge",
                at,
                Id=key,
                Name=f"{subscription.plan} seats",
                RatePlanId=rate_plan["Id"],
                ProductRatePlanChargeId=plan_charge,
                OriginalId=original,
                ChargeNumber=subscription.charge_number,
                ChargeModel="Per Unit Pricing",
                ChargeType="Recurring",
                BillingPeriod="Annual",
                BillingPeriodAlignment="AlignToCharge",
                BillCycleType="DefaultFromCustomer",
                AccountingCode="Subscription Revenue",
                EndDateCondition="SubscriptionEnd",
                ListPriceBase="Per Year",
                RevenueRecognitionRuleName="Recognize daily over time",
                TriggerEvent="ContractEffective",
                UOM="Seats",
                Segment=place + 1,
                Version=subscription.version,
                Quantity=Decimal(segment.quantity),
                MRR=segment.mrr,
                DMRC=segment.mrr,
                TCV=Decimal(0) if has_ended else segment.tcv,
                DTCV=Decimal(0) if has_ended else segment.tcv,
                IsLastSegment=place == len(subscription.segments) - 1,
                EffectiveStartDate=segment.start,
                EffectiveEndDate=segment.end,
                ChargedThroughDate=segment.end,
                ProcessedThroughDate=segment.end,
                TriggerDate=segment.start,
            )
            subscription.charges.append(key)
            put(
                "RatePlanChargeTier",
                at,
                RatePlanChargeId=key,
                Currency=subscription.currency,
                Tier=1,
                Price=segment.price,
                PriceFormat="Per Unit",
                StartingUnit=Decimal(0),
            )
        for day, amount in subscription.trueups:
            self._trueup(subscription, at, day, amount)

    def _trueup(self, subscription: Subscription, at: float, day: date, amount: Decimal) -> None:
        product, plan, plan_charge = self.catalog.plans["Trueup"]
        rate_plan = self._desk.put(
            "RatePlan",
            at,
            Name="Trueup",
            SubscriptionId=subscription.record,
            ProductId=product,
            ProductRatePlanId=plan,
            AmendmentType="NewProduct",
        )
        self._desk.put(
            "RatePlanCharge",
            at,
            Name="Trueup",
            RatePlanId=rate_plan["Id"],
            ProductRatePlanChargeId=plan_charge,
            ChargeNumber=f"{subscription.charge_number}T",
            ChargeModel="Flat Fee Pricing",
            ChargeType="OneTime",
            BillCycleType="DefaultFromCustomer",
            Segment=1,
            Version=1,
            Quantity=Decimal(1),
            MRR=Decimal(0),
            DMRC=Decimal(0),
            TCV=amount,
            DTCV=amount,
            IsLastSegment=True,
            EffectiveStartDate=day,
            EffectiveEndDate=day + timedelta(days=1),
            ChargedThroughDate=day + timedelta(days=1),
            ProcessedThroughDate=day + timedelta(days=1),
            TriggerEvent="ContractEffective",
        )

    # Invoices

    def invoice(
        self,
        subscription: Subscription,
        at: float,
        amount: Decimal,
        span: tuple[date, date],
        days_to_pay: int,
        *,
        status: str = "Posted",
    ) -> str:
        """An invoice of one line; posted ones are to be paid."""
        desk = self._desk
        number = desk.number("Invoice")
        day = desk.date_at(at)
        tax = money(amount * Decimal("0.21")) if subscription.currency == "EUR" else Decimal(0)
        total = amount + tax
        is_posted = status == "Posted"
        record = desk.put(
            "Invoice",
            at,
            InvoiceNumber=f"INV{number:08d}" if is_posted else None,
            AccountId=subscription.account,
            Status=status,
            Source="BillRun",
            SourceId=f"BR-{number:08d}",
            Comments=None,
            PostedBy=desk.new_id() if is_posted else None,
            PostedDate=desk._clock.at(at) if is_posted else None,
            TransferredToAccounting="No",
            Amount=total,
            AmountWithoutTax=amount,
            TaxAmount=tax,
            TaxExemptAmount=Decimal(0),
            Balance=total if is_posted else Decimal(0),
            AdjustmentAmount=Decimal(0),
            CreditBalanceAdjustmentAmount=Decimal(0),
            PaymentAmount=Decimal(0),
            RefundAmount=Decimal(0),
            IncludesOneTime=span[0] == span[1],
            IncludesRecurring=span[0] != span[1],
            IncludesUsage=False,
            InvoiceDate=day,
            DueDate=day + timedelta(days=days_to_pay),
            TargetDate=day,
        )
        key = str(record["Id"])
        period = self.catalog.periods.get(month_of(day))
        item = desk.put(
            "InvoiceItem",
            at,
            InvoiceId=key,
            SubscriptionId=subscription.record,
            RatePlanChargeId=subscription.charges[-1] if subscription.charges else None,
            ProductId=self.catalog.plans[subscription.plan][0],
            ChargeName=f"{subscription.plan} seats",
            SKU="SKU-00000001",
            AccountingCode="Subscription Revenue",
            AccountingPeriodId=period,
            ProcessingType="Charge",
            TaxMode="TaxExclusive",
            TaxCode="VAT" if tax else None,
            UOM="Seats",
            ChargeAmount=amount,
            Quantity=Decimal(subscription.segments[-1].quantity),
            UnitPrice=subscription.segments[-1].price,
            TaxAmount=tax,
            TaxExemptAmount=Decimal(0),
            ServiceStartDate=span[0],
            ServiceEndDate=span[1],
            RevRecStartDate=span[0],
            ChargeDate=desk._clock.at(at),
        )
        self._lines[key] = [str(item["Id"])]
        if not is_posted:
            self._drafts.append(key)
            return key
        self._owe(subscription.account, at, total)
        if number % _REVENUE_EVERY == 0:
            self._revenue.recognise(subscription, item, at, span)
        self._plan_payment(key, number, day + timedelta(days=days_to_pay), at)
        return key

    def _owe(self, account: str, at: float, amount: Decimal) -> None:
        record = self._desk.live["Account"][account]
        balance = decimal(record["Balance"]) + amount
        fields: dict[str, object] = {"Balance": balance, "TotalInvoiceBalance": balance}
        if amount > 0:
            fields["LastInvoiceDate"] = self._desk.date_at(at)
        self._desk.change("Account", account, at, **fields)

    def _plan_payment(self, invoice: str, number: int, due: date, at: float) -> None:
        desk = self._desk
        rng = desk._rng
        if number % 9 == 1:
            desk.when(desk.date_at(at) + timedelta(days=3), lambda t: self._adjust(invoice, t))
        if number % 8 == 2:
            desk.when(desk.date_at(at) + timedelta(days=4), lambda t: self._adjust_item(invoice, t))
        fate = rng.random()
        if fate < 0.09:
            return  # never paid
        late = rng.randrange(1, 120) if fate < 0.3 else -rng.randrange(0, 14)
        earliest = desk.date_at(at) + timedelta(days=5)
        desk.when(max(earliest, due + timedelta(days=late)), lambda t: self._pay(invoice, t))

    def _settle(self, invoice: str, at: float, amount: Decimal, field: str) -> None:
        """So much of the invoice is no longer owed (or is again, when negative)."""
        record = self._desk.live["Invoice"][invoice]
        self._desk.change(
            "Invoice",
            invoice,
            at,
            Balance=decimal(record["Balance"]) - amount,
            **{field: decimal(record[field]) + amount},
        )
        self._owe(str(record["AccountId"]), at, -amount)

    def _pay(self, invoice: str, at: float) -> None:
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        amount = decimal(record["Balance"])
        if amount <= 0:
            return
        number = desk.number("Payment")
        day = desk.date_at(at)
        is_card = number % 4 == 0
        overpaid = Decimal("25.00") if number % 8 == 3 else Decimal(0)
        payment = desk.put(
            "Payment",
            at,
            PaymentNumber=f"P-{number:08d}",
            AccountId=record["AccountId"],
            Type="Electronic" if is_card else "External",
            Status="Processed",
            AccountingCode="Cash",
            GatewayState="Settled" if is_card else "NotSubmitted",
            GatewayResponse="Approved" if is_card else None,
            GatewayResponseCode="100" if is_card else None,
            PaymentMethodId=desk.new_id(),
            ReferenceId=f"ch_{number:014d}" if is_card else f"wire {number}",
            Source="PaymentRun" if is_card else "Manual",
            TransferredToAccounting="No",
            Amount=amount + overpaid,
            AppliedCreditBalanceAmount=overpaid,
            RefundAmount=Decimal(0),
            EffectiveDate=day,
            SubmittedOn=desk._clock.at(at) if is_card else None,
        )
        key = str(payment["Id"])
        link = desk.put(
            "InvoicePayment",
            at,
            InvoiceId=invoice,
            PaymentId=key,
            Amount=amount,
            RefundAmount=Decimal(0),
        )
        self._payments.setdefault(invoice, []).append(str(link["Id"]))
        self._settle(invoice, at, amount, "PaymentAmount")
        if overpaid:
            self._credit(str(record["AccountId"]), at, overpaid, payment)
        if number % 7 == 6:
            wait = timedelta(days=1 + number % 5)
            desk.when(day + wait, lambda t: self._refund(str(link["Id"]), t, Decimal("10.00")))

    def _credit(self, account: str, at: float, amount: Decimal, payment: Record) -> None:
        desk = self._desk
        number = desk.number("CreditBalanceAdjustment")
        desk.put(
            "CreditBalanceAdjustment",
            at,
            Number=f"CBA-{number:08d}",
            AccountId=account,
            Type="Increase",
            Status="Processed",
            AccountingCode="Customer Cash On Account",
            Comment="paid more than was asked",
            ReasonCode="Standard Adjustment",
            SourceTransactionId=payment["Id"],
            SourceTransactionNumber=payment["PaymentNumber"],
            SourceTransactionType="Payment",
            TransferredToAccounting="No",
            Amount=amount,
            AdjustmentDate=desk.date_at(at),
        )
        balance = decimal(desk.live["Account"][account]["CreditBalance"]) + amount
        desk.change("Account", account, at, CreditBalance=balance)

    def _refund(self, link: str, at: float, wanted: Decimal) -> None:
        """Part of a payment goes back; the invoice is owed again by as much, and written off."""
        desk = self._desk
        paid = desk.live["InvoicePayment"][link]
        amount = min(wanted, decimal(paid["Amount"]) - decimal(paid["RefundAmount"]))
        if amount <= 0:
            return
        payment = desk.live["Payment"][str(paid["PaymentId"])]
        number = desk.number("Refund")
        refund = desk.put(
            "Refund",
            at,
            RefundNumber=f"R-{number:08d}",
            AccountId=payment["AccountId"],
            Type=payment["Type"],
            Status="Processed",
            AccountingCode="Cash",
            Comment=None,
            MethodType="CreditCard" if payment["Type"] == "Electronic" else "WireTransfer",
            PaymentMethodId=payment["PaymentMethodId"],
            ReasonCode="Standard Refund",
            SourceType="Payment",
            TransferredToAccounting="No",
            Amount=amount,
            RefundDate=desk.date_at(at),
            RefundTransactionTime=desk._clock.at(at),
        )
        desk.put(
            "RefundInvoicePayment",
            at,
            RefundId=refund["Id"],
            InvoiceId=paid["InvoiceId"],
            InvoicePaymentId=link,
            RefundAmount=amount,
        )
        refunded = decimal(paid["RefundAmount"]) + amount
        desk.change("InvoicePayment", link, at, RefundAmount=refunded)
        of_payment = decimal(payment["RefundAmount"]) + amount
        desk.change("Payment", str(payment["Id"]), at, RefundAmount=of_payment)
        invoice = str(paid["InvoiceId"])
        old = desk.live["Invoice"][invoice]
        desk.change("Invoice", invoice, at, RefundAmount=decimal(old["RefundAmount"]) + amount)

    def give_back(self, subscription: Subscription, at: float, unused: Decimal) -> None:
        """A subscription ended before its time: what was paid for the rest is refunded."""
        items = [
            str(item["InvoiceId"])
            for item in self._desk.live.get("InvoiceItem", {}).values()
            if item["SubscriptionId"] == subscription.record
        ]
        paid = [link for invoice in items for link in self._payments.get(invoice, ())]
        if paid:
            self._refund(paid[-1], at, unused)

    def _adjust(self, invoice: str, at: float) -> None:
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        number = desk.number("InvoiceAdjustment")
        amount = min(Decimal("12.50"), decimal(record["Balance"]))
        if amount <= 0:
            return
        desk.put(
            "InvoiceAdjustment",
            at,
            AdjustmentNumber=f"IA-{number:08d}",
            AccountId=record["AccountId"],
            InvoiceId=invoice,
            InvoiceNumber=record["InvoiceNumber"],
            Type="Credit",
            Status="Processed",
            AccountingCode="Sales Discounts",
            ReasonCode="Standard Adjustment",
            Comments="goodwill",
            TransferredToAccounting="No",
            Amount=amount,
            ImpactAmount=-amount,
            AdjustmentDate=desk.date_at(at),
        )
        self._settle(invoice, at, amount, "AdjustmentAmount")

    def _adjust_item(self, invoice: str, at: float) -> None:
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        item = desk.live["InvoiceItem"][self._lines[invoice][0]]
        number = desk.number("InvoiceItemAdjustment")
        amount = min(Decimal("4.00"), decimal(record["Balance"]))
        if amount <= 0:
            return
        adjusted = desk.put(
            "InvoiceItemAdjustment",
            at,
            AdjustmentNumber=f"IIA-{number:08d}",
            AccountId=record["AccountId"],
            InvoiceId=invoice,
            InvoiceNumber=record["InvoiceNumber"],
            InvoiceItemName=item["ChargeName"],
            SourceId=item["Id"],
            SourceType="InvoiceDetail",
            Type="Credit",
            Status="Processed",
            AccountingCode="Sales Discounts",
            ReasonCode="Standard Adjustment",
            Comment=None,
            TransferredToAccounting="No",
            Amount=amount,
            AdjustmentDate=desk.date_at(at),
            ServiceStartDate=item["ServiceStartDate"],
            ServiceEndDate=item["ServiceEndDate"],
        )
        self._settle(invoice, at, amount, "AdjustmentAmount")
        month = month_of(desk.date_at(at))
        shared = self._revenue.pointers(invoice, item, month) | {
            "InvoiceItemAdjustmentId": adjusted["Id"],
            "RevenueScheduleInvoiceItemAdjustmentId": desk.new_id(),
            "Amount": -amount,
        }
        desk.put("RevenueScheduleItemInvoiceItemAdjustment", at, **shared)
        desk.put(
            "RevenueEventItemInvoiceItemAdjustment",
            at,
            **shared,
            **self._revenue.event(),
            RevenueEventInvoiceItemAdjustmentId=desk.new_id(),
        )

    # Every day

    def daily(self, day: int, moment: Callable[[], float]) -> None:
        """A draft comes, an old one goes, something is paid."""
        desk = self._desk
        running = [s for s in desk.subscriptions if s.status == "Active"]
        if day % 2 == 1 and running:
            chosen = desk._rng.choice(running)
            today = desk.date_at(day - 0.5)
            amount = money(chosen.segments[-1].price)
            self.invoice(chosen, moment(), amount, (today, today), 30, status="Draft")
        elif self._drafts:
            at = moment()
            draft = self._drafts.pop(0)
            for line in self._lines.pop(draft):
                desk.delete("InvoiceItem", line, at)
            desk.delete("Invoice", draft, at)
        owed = [
            key
            for key, record in desk.live["Invoice"].items()
            if record["Status"] == "Posted" and decimal(record["Balance"]) > 0
        ]
        if owed and day % 2 == 0:
            self._pay(owed[0], moment())
