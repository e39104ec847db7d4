"""What Zuora holds before anything is sold: products with plans and charges, accounting codes, periods."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meltano_assets.sandbox.company_billing import BillingDesk

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


def decimal(value: object) -> Decimal:
    """A number of a record; nothing is zero."""
    return value if isinstance(value, Decimal) else Decimal(str(value or 0))


class Catalog:
    """Writes the catalogue, and knows its ids by name."""

    def __init__(self, desk: BillingDesk) -> None:
        self._desk = desk
        #: Plan → ids of its product, the plan and its charge; accounting code → id; month → id.
        self.plans: dict[str, tuple[str, str, str]] = {}
        self.codes: dict[str, str] = {}
        self.periods: dict[date, str] = {}
        self._profiles: list[str] = []

    def open(self, at: float) -> None:
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
            self.codes[name] = str(code["Id"])
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
            owner = self.plans["Starter"][0]
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
        self.plans[name] = (str(product["Id"]), str(plan["Id"]), charge)

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
            self.periods[month] = str(period["Id"])
            month = next_month(month)

    def profile(self, number: int) -> str:
        """A communication profile."""
        return self._profiles[number % len(self._profiles)]
