"""What must come out of the books: counts, sums and whom they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from meltano_assets.sandbox.company_books import Custom
from meltano_assets.sandbox.company_netsuite_records import (
    TRANSACTIONS,
    BookRecords,
    name_of,
    symbol_of,
)
from meltano_assets.sandbox.company_sales import Record


def book_truths(books: BookRecords, moment: datetime) -> dict[str, object]:
    """What must come out of the books at that moment: counts, sums and whom they belong to."""
    state = books.state(moment)

    def total(kind: str, field: str) -> float:
        """In the base currency."""
        return round(
            sum(
                float(str(record[field])) * float(str(record["exchangeRate"]))
                for record in state.get(kind, {}).values()
            ),
            2,
        )

    departments: dict[str, float] = {}
    for kind in ("VendorBill", "ExpenseReport"):
        for record in state.get(kind, {}).values():
            for line in _lines(record, "expenseList"):
                name = name_of(line["department"])
                departments[name] = departments.get(name, 0.0) + float(str(line["amount"]))
    campaigns: dict[str, float] = {}
    for record in state.get("VendorBill", {}).values():
        for custom in _customs(record):
            if custom.script_id == "custbody_campaign":
                key = str(custom.value)
                campaigns[key] = campaigns.get(key, 0.0) + float(str(record["userTotal"]))
    by_currency: dict[str, float] = {}
    for record in state.get("Invoice", {}).values():
        symbol = symbol_of(record)
        by_currency[symbol] = by_currency.get(symbol, 0.0) + float(str(record["total"]))
    return {
        "customers": len(state.get("Customer", {})),
        "transactions": {kind: len(state.get(kind, {})) for kind in TRANSACTIONS},
        "deleted": len(books.deleted(moment)),
        "invoices": {
            "total_usd": total("Invoice", "total"),
            "open_usd": total("Invoice", "amountRemaining"),
            "by_currency": _rounded(by_currency),
        },
        "payments_usd": total("CustomerPayment", "payment"),
        "credits_usd": total("CreditMemo", "total"),
        "expenses_by_department": _rounded(departments),
        "marketing_by_campaign": _rounded(campaigns),
    }


def _rounded(sums: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in sorted(sums.items())}


def _lines(record: Record, name: str) -> list[Record]:
    lines = record.get(name)
    return lines if isinstance(lines, list) else []


def _customs(record: Record) -> list[Custom]:
    fields = record.get("customFieldList")
    return fields if isinstance(fields, list) else []
