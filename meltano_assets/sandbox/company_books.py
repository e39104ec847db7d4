"""The lists of the company's books: accounts, departments, items, vendors and their like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ref:
    """A reference to another record."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Custom:
    """A field that the company has added; ``kind`` is String, Boolean, Long, Double, Date, Select
    or MultiSelect.
    """

    kind: str
    script_id: str
    value: object


def customs_of(record: Mapping[str, object]) -> list[Custom]:
    """The fields of a record that the company has added."""
    fields = record.get("customFieldList")
    return fields if isinstance(fields, list) else []


BASE_CURRENCY = "USD"
#: Symbol → name, sign, units of the base currency for one.
CURRENCIES = {
    "USD": ("US Dollar", "$", 1.0),
    "GBP": ("British Pound", "£", 1.25),
    "EUR": ("Euro", "€", 1.1),
}
#: Name → legal name, country, currency, city; the first owns the others.
SUBSIDIARIES = {
    "Meltano Sandbox": ("Meltano Sandbox, Inc.", "_unitedStates", "USD", "San Francisco"),
    "Meltano Sandbox UK": ("Meltano Sandbox Ltd.", "_unitedKingdomGB", "GBP", "London"),
    "Meltano Sandbox NL": ("Meltano Sandbox B.V.", "_netherlands", "EUR", "Utrecht"),
}
#: Name → the department above it.
DEPARTMENTS: dict[str, str | None] = {
    "Sales": None,
    "Sales Development": "Sales",
    "Business Development": "Sales",
    "Marketing": None,
    "Research & Development": None,
    "Customer Support": None,
    "Finance": None,
    "People": None,
}
#: Monthly salaries by department.
PAYROLL = {
    "Sales": 210_000,
    "Sales Development": 60_000,
    "Business Development": 45_000,
    "Marketing": 90_000,
    "Research & Development": 480_000,
    "Customer Support": 120_000,
    "Finance": 55_000,
    "People": 40_000,
}
#: Number → name, type, the account above it.
CHART: dict[str, tuple[str, str, str | None]] = {
    "1000": ("Checking", "_bank", None),
    "1010": ("Savings", "_bank", None),
    "1100": ("Accounts Receivable", "_accountsReceivable", None),
    "1200": ("Prepaid Expenses", "_otherCurrentAsset", None),
    "1500": ("Equipment", "_fixedAsset", None),
    "2000": ("Accounts Payable", "_accountsPayable", None),
    "2100": ("Accrued Payroll", "_otherCurrentLiability", None),
    "2500": ("Deferred Revenue", "_deferredRevenue", None),
    "3000": ("Common Stock", "_equity", None),
    "4000": ("Revenue", "_income", None),
    "4010": ("Subscription Revenue", "_income", "Revenue"),
    "4020": ("Services Revenue", "_income", "Revenue"),
    "5000": ("Hosting", "_costOfGoodsSold", None),
    "6000": ("Salaries", "_expense", None),
    "6100": ("Marketing Programs", "_expense", None),
    "6200": ("Travel", "_expense", None),
    "6210": ("Meals", "_expense", "Travel"),
    "6300": ("Software", "_expense", None),
    "6400": ("Rent", "_expense", None),
    "6500": ("Professional Fees", "_expense", None),
    "7000": ("Other Income", "_otherIncome", None),
    "8000": ("Exchange Gain/Loss", "_otherExpense", None),
}
TERMS = {"Net 30": 30, "Net 45": 45, "Net 60": 60}
EXPENSE_CATEGORIES = {"Travel": "Travel", "Meals": "Meals", "Software": "Software"}
#: Name → record type, price, income account.
ITEMS = {
    "Subscription Starter": ("NonInventorySaleItem", 48.0, "Subscription Revenue"),
    "Subscription Premium": ("NonInventorySaleItem", 228.0, "Subscription Revenue"),
    "Subscription Ultimate": ("NonInventorySaleItem", 1188.0, "Subscription Revenue"),
    "Subscription Education": ("NonInventorySaleItem", 24.0, "Subscription Revenue"),
    "Implementation": ("ServiceSaleItem", 250.0, "Services Revenue"),
    "Migration": ("ServiceSaleItem", 220.0, "Services Revenue"),
    "Training": ("ServiceSaleItem", 5000.0, "Services Revenue"),
    "Health Check": ("ServiceSaleItem", 1800.0, "Services Revenue"),
    "Partner discount": ("DiscountItem", -0.1, "Subscription Revenue"),
}
#: Name → category, department, account, monthly bill from, to (0: bills as they come).
VENDORS = {
    "Northwind Hosting": ("Cloud", "Research & Development", "Hosting", 18_000.11, 42_000.0),
    "Halyard Cloud": ("Cloud", "Customer Support", "Hosting", 2_000.13, 9_000.0),
    "Deskworks": ("Landlord", "Finance", "Rent", 22_000.17, 22_900.0),
    "Inkwell Software": ("Software", "Sales", "Software", 900.19, 4_100.0),
    "Parcel & Sons": ("Software", "People", "Software", 300.23, 1_900.0),
    "Ledgerdemain LLP": ("Adviser", "Finance", "Professional Fees", 1_500.29, 12_000.0),
    "Brightside Media": ("Agency", "Marketing", "Marketing Programs", 0, 0),
    "Fairground Events": ("Agency", "Marketing", "Marketing Programs", 0, 0),
    "Loudhailer Ads": ("Agency", "Marketing", "Marketing Programs", 0, 0),
}
