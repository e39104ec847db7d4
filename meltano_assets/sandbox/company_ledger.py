"""The books of the billing side: catalogue, charges, invoices, payments and what undoes them.

Called by ``company_billing.BillingDesk``, which keeps the records and the time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_sales import Record

if TYPE_CHECKING:
    from meltano_assets.sandbox.company_billing import BillingDesk, Subscription

_CODES = (
    ("Accounts Receivable", "AccountsReceivable", "Assets"),
    ("Cash", "Cash", "Assets"),
    ("Deferred Revenue", "DeferredRevenue", "Liabilities"),
    ("Customer Cash On Account", "CustomerCashOnAccount", "Liabilities"),
    ("Subscription Revenue", "SalesRevenue", "Revenue"),
    ("Services Revenue", "SalesRevenue", "Revenue"),
    ("Sales Discounts", "SalesDiscounts", "Revenue"),
    ("Refunds", "OtherExpenses", "Expenses"),
)
_CURRENCIES = ("USD", "EUR", "GBP")
_FAR = date(2099, 12, 31)
#: One invoice line in so many has its revenue spread over months.
_REVENUE_EVERY = 4
_MONTHS_BEFORE, _MONTHS_AFTER = 40, 16


def money(value: Decimal) -> Decimal:
    """Two places."""
    return value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def month_of(day: date) -> date:
    """The first day of its month."""
    return day.replace(day=1)


def next_month(day: date) -> date:
    """The first day of the month after."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


class Ledger:
    """Writes what Zuora's billing engine and its accountants would."""

    def __init__(self, desk: BillingDesk) -> None:
        self._desk = desk
        self._plans: dict[str, tuple[str, str, str]] = {}
        self._profiles: list[str] = []
        self._codes: dict[str, str] = {}
        self._periods: dict[date, str] = {}
        self._lines: dict[str, list[str]] = {}
        self._payments: dict[str, list[str]] = {}
        self._drafts: list[str] = []
        self.template = desk.new_id()

    # The catalogue

    def open_catalog(self, at: float) -> None:
        """What is there before the first customer comes."""
        put, start = self._desk.put, self._desk.date_at(at)
        for i in range(8):
            profile = put(
                "CommunicationProfile",
                at,
                ProfileName=f"Profile {i + 1}" if i else "Default Profile",
                Description="Mails on invoices and payments",
            )
            self._profiles.append(str(profile["Id"]))
        for i, (name, kind, category) in enumerate(_CODES):
            code = put(
                "AccountingCode",
                at,
                Name=name,
                Type=kind,
                Category=category,
                Status="Active",
                GLAccountName=name,
                GLAccountNumber=f"{1000 + 100 * i}",
            )
            self._codes[name] = str(code["Id"])
        self._open_periods(at)
        from meltano_assets.sandbox.company_billing import PLANS, TRUEUP

        for i, (plan, price) in enumerate((*PLANS.items(), (TRUEUP, Decimal(0)))):
            self._plan(at, start, i, plan, price)
        for i in range(4):  # sold once, or about to be sold
            put(
                "Product",
                at,
                Name=f"Training day {i + 1}",
                SKU=f"SKU-{90 + i:08d}",
                Category="Miscellaneous Products",
                AllowFeatureChanges="false",
                EffectiveStartDate=start,
                EffectiveEndDate=_FAR,
            )
            other = {"Name": f"Retired plan {i + 1}", "EffectiveStartDate": start}
            owner = self._plans["Starter"][0]
            plan_record = put(
                "ProductRatePlan", at, ProductId=owner, EffectiveEndDate=start, **other
            )
            self._plan_charge(
                at, str(plan_record["Id"]), f"Retired seats {i + 1}", Decimal(10), "Recurring"
            )

    def _plan(self, at: float, start: date, place: int, name: str, price: Decimal) -> None:
        put = self._desk.put
        product = put(
            "Product",
            at,
            Name=name,
            SKU=f"SKU-{place + 1:08d}",
            Category="Base Products",
            Description=f"{name} seats",
            AllowFeatureChanges="false",
            EffectiveStartDate=start,
            EffectiveEndDate=_FAR,
        )
        plan = put(
            "ProductRatePlan",
            at,
            Name=name,
            ProductId=product["Id"],
            Description=None,
            EffectiveStartDate=start,
            EffectiveEndDate=_FAR,
        )
        kind = "OneTime" if price == 0 else "Recurring"
        charge = self._plan_charge(at, str(plan["Id"]), f"{name} seats", price, kind)
        self._plans[name] = (str(product["Id"]), str(plan["Id"]), charge)

    def _plan_charge(self, at: float, plan: str, name: str, price: Decimal, kind: str) -> str:
        put = self._desk.put
        is_recurring = kind == "Recurring"
        charge = put(
            "ProductRatePlanCharge",
            at,
            Name=name,
            ProductRatePlanId=plan,
            ChargeModel="Per Unit Pricing" if is_recurring else "Flat Fee Pricing",
            ChargeType=kind,
            BillingPeriod="Annual" if is_recurring else None,
            BillingPeriodAlignment="AlignToCharge" if is_recurring else None,
            BillCycleType="DefaultFromCustomer",
            AccountingCode="Subscription Revenue",
            DeferredRevenueAccount="Deferred Revenue",
            RecognizedRevenueAccount="Subscription Revenue",
            RevenueRecognitionRuleName="Recognize daily over time",
            ListPriceBase="Per Year" if is_recurring else None,
            TriggerEvent="ContractEffective",
            UOM="Seats" if is_recurring else None,
            DefaultQuantity=Decimal(1) if is_recurring else None,
            MinQuantity=Decimal(1) if is_recurring else None,
            Taxable=False,
            UseDiscountSpecificAccountingCode=False,
            UseTenantDefaultForPriceChange=True,
        )
        for currency in _CURRENCIES:
            put(
                "ProductRatePlanChargeTier",
                at,
                ProductRatePlanChargeId=charge["Id"],
                Currency=currency,
                Tier=1,
                Price=price,
                PriceFormat="Per Unit" if is_recurring else "Flat Fee",
                StartingUnit=Decimal(0),
                EndingUnit=None,
                Active=True,
                OveragePrice=False,
            )
        return str(charge["Id"])

    def _open_periods(self, at: float) -> None:
        today = self._desk.date_at(0)
        month = month_of(today)
        for _ in range(_MONTHS_BEFORE):
            month = month_of(month - timedelta(days=1))
        for _ in range(_MONTHS_BEFORE + _MONTHS_AFTER):
            end = next_month(month) - timedelta(days=1)
            is_closed = end < today - timedelta(days=45)
            period = self._desk.put(
                "AccountingPeriod",
                at,
                Name=f"{month:%b '%y}",
                FiscalYear=month.year,
                StartDate=month,
                EndDate=end,
                Status="Closed" if is_closed else "Open",
            )
            self._periods[month] = str(period["Id"])
            month = next_month(month)

    def profile(self, number: int) -> str:
        """A communication profile."""
        return self._profiles[number % len(self._profiles)]

    # Plans and charges of a subscription's version

    def charge(self, subscription: Subscription, at: float) -> None:
        """The version's rate plans with all segments of their charges."""
        put = self._desk.put
        product, plan, plan_charge = self._plans[subscription.plan]
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
        product, plan, plan_charge = self._plans["Trueup"]
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
        period = self._periods.get(month_of(day))
        item = desk.put(
            "InvoiceItem",
            at,
            InvoiceId=key,
            SubscriptionId=subscription.record,
            RatePlanChargeId=subscription.charges[-1] if subscription.charges else None,
            ProductId=self._plans[subscription.plan][0],
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
            self._recognise(subscription, item, at, span)
        self._plan_payment(key, number, day + timedelta(days=days_to_pay), at)
        return key

    def _owe(self, account: str, at: float, amount: Decimal) -> None:
        record = self._desk.live["Account"][account]
        balance = _decimal(record["Balance"]) + amount
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
            Balance=_decimal(record["Balance"]) - amount,
            **{field: _decimal(record[field]) + amount},
        )
        self._owe(str(record["AccountId"]), at, -amount)

    def _pay(self, invoice: str, at: float) -> None:
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        amount = _decimal(record["Balance"])
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
        balance = _decimal(desk.live["Account"][account]["CreditBalance"]) + amount
        desk.change("Account", account, at, CreditBalance=balance)

    def _refund(self, link: str, at: float, wanted: Decimal) -> None:
        """Part of a payment goes back; the invoice is owed again by as much, and written off."""
        desk = self._desk
        paid = desk.live["InvoicePayment"][link]
        amount = min(wanted, _decimal(paid["Amount"]) - _decimal(paid["RefundAmount"]))
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
        refunded = _decimal(paid["RefundAmount"]) + amount
        desk.change("InvoicePayment", link, at, RefundAmount=refunded)
        of_payment = _decimal(payment["RefundAmount"]) + amount
        desk.change("Payment", str(payment["Id"]), at, RefundAmount=of_payment)
        invoice = str(paid["InvoiceId"])
        old = desk.live["Invoice"][invoice]
        desk.change("Invoice", invoice, at, RefundAmount=_decimal(old["RefundAmount"]) + amount)

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
        amount = min(Decimal("12.50"), _decimal(record["Balance"]))
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
        amount = min(Decimal("4.00"), _decimal(record["Balance"]))
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
        shared = self._pointers(invoice, item, month) | {
            "InvoiceItemAdjustmentId": adjusted["Id"],
            "RevenueScheduleInvoiceItemAdjustmentId": desk.new_id(),
            "Amount": -amount,
        }
        desk.put("RevenueScheduleItemInvoiceItemAdjustment", at, **shared)
        desk.put(
            "RevenueEventItemInvoiceItemAdjustment",
            at,
            **shared,
            **self._event(),
            RevenueEventInvoiceItemAdjustmentId=desk.new_id(),
        )

    # Revenue

    def _pointers(self, invoice: str, item: Record, month: date) -> dict[str, object]:
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        account = desk.live["Account"][str(record["AccountId"])]
        charge = desk.live["RatePlanCharge"].get(str(item["RatePlanChargeId"]), {})
        return {
            "AccountId": record["AccountId"],
            "ParentAccountId": account["ParentId"],
            "BillToContactId": account["BillToContactId"],
            "SoldToContactId": account["SoldToContactId"],
            "Currency": account["Currency"],
            "AccountingPeriodId": self._periods.get(month),
            "SubscriptionId": item["SubscriptionId"],
            "RatePlanId": charge.get("RatePlanId"),
            "RatePlanChargeId": item["RatePlanChargeId"],
            "ProductId": item["ProductId"],
            "ProductRatePlanChargeId": charge.get("ProductRatePlanChargeId"),
            "DeferredRevenueAccountingCodeId": self._codes["Deferred Revenue"],
            "RecognizedRevenueAccountingCodeId": self._codes["Subscription Revenue"],
            "InvoiceId": invoice,
            "InvoiceItemId": item["Id"],
        }

    def _event(self) -> dict[str, object]:
        return {
            "JournalEntryId": self._desk.new_id(),
            "JournalRunId": None,
            "RevenueEventTypeId": self._codes["Deferred Revenue"],
        }

    def _recognise(
        self, subscription: Subscription, item: Record, at: float, span: tuple[date, date]
    ) -> None:
        """The line's amount becomes revenue in equal months; cents left over go to the last."""
        desk = self._desk
        invoice = str(item["InvoiceId"])
        amount = _decimal(item["ChargeAmount"])
        number = desk.number("RevenueSchedule")
        months = [month_of(span[0])]
        while next_month(months[-1]) < span[1]:
            months.append(next_month(months[-1]))
        schedule = desk.put(
            "RevenueScheduleInvoiceItem",
            at,
            Number=f"RS-{number:08d}",
            InvoiceId=invoice,
            InvoiceItemId=item["Id"],
            Currency=subscription.currency,
            FinanceTransactionType="InvoiceItem",
            Rule="Recognize daily over time",
            TransactionNumber=f"INV{number:08d}",
            Amount=amount,
            UndistributedAmount=Decimal(0),
            ExchangeRateDate=desk.date_at(at),
            RecognitionPeriodStart=months[0],
            RecognitionPeriodEnd=span[1],
            RevenueScheduleDate=desk.date_at(at),
            TransactionDate=desk.date_at(at),
        )
        each = money(amount / len(months))
        for place, month in enumerate(months):
            is_last = place == len(months) - 1
            part = amount - each * (len(months) - 1) if is_last else each
            shared = self._pointers(invoice, item, month)
            shared |= {"RevenueChargeSummaryId": schedule["Id"], "Amount": part}
            of_item = {**shared, "RevenueScheduleInvoiceItemId": schedule["Id"]}
            desk.put("RevenueScheduleItemInvoiceItem", at, **of_item)
            plain = {k: v for k, v in shared.items() if k not in ("InvoiceId", "InvoiceItemId")}
            desk.put("RevenueScheduleItem", at, **plain, RevenueScheduleId=schedule["Id"])
            if place:
                continue
            codes = ("DeferredRevenueAccountingCodeId", "RecognizedRevenueAccountingCodeId")
            desk.put(
                "RevenueChargeSummaryItem",
                at,
                **{k: v for k, v in plain.items() if k not in codes},
            )
            event = self._event()
            desk.put(
                "RevenueEventItem",
                at,
                **plain,
                **event,
                RevenueEventId=desk.new_id(),
                RevenueScheduleId=schedule["Id"],
            )
            desk.put(
                "RevenueEventItemInvoiceItem",
                at,
                **of_item,
                **event,
                RevenueEventInvoiceItemId=desk.new_id(),
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
            if record["Status"] == "Posted" and _decimal(record["Balance"]) > 0
        ]
        if owed and day % 2 == 0:
            self._pay(owed[0], moment())


def _decimal(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))
