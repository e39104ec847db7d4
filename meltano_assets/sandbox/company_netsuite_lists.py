"""What is in the books since ever: currencies, subsidiaries, departments, the chart of accounts, terms,
items, accounting periods and vendors.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from meltano_assets.sandbox.company_books import (
    BASE_CURRENCY,
    CHART,
    CURRENCIES,
    DEPARTMENTS,
    EXPENSE_CATEGORIES,
    ITEMS,
    SUBSIDIARIES,
    TERMS,
    VENDORS,
    Custom,
    Ref,
)
from meltano_assets.sandbox.company_netsuite_records import BookRecords
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person


class Lists:
    """Writes the lists into the books."""

    def __init__(self, books: BookRecords) -> None:
        self._books = books

    def write(self) -> None:
        """All of them."""
        for symbol, (name, display, rate) in CURRENCIES.items():
            ref = self._books.put_in_list(
                "Currency", symbol, name=name, symbol=symbol, isBaseCurrency=symbol == BASE_CURRENCY,
                isInactive=False, overrideCurrencyFormat=False, displaySymbol=display,
                symbolPlacement="_beforeNumber", formatSample=f"{display}1,234.56",
                exchangeRate=rate, inclInFxRateUpdates=symbol != BASE_CURRENCY,
                currencyPrecision="_two",
            )  # fmt: skip
            self._books.refs["Currency"][symbol] = Ref(ref.id, name)
        top: Ref | None = None
        for name, (legal, country, symbol, city) in SUBSIDIARIES.items():
            ref = self._books.put_in_list(
                "Subsidiary", name, name=name, legalName=legal, parent=top, isInactive=False,
                country=country, currency=self._books.ref("Currency", symbol), isElimination=False,
                mainAddress={"internalId": "1", "country": country, "addressee": legal,
                             "addr1": "1 Market Street", "city": city, "zip": "94105",
                             "addrText": f"{legal}\n1 Market Street\n{city}", "override": False},
                url="http://meltano-sandbox.com",
            )  # fmt: skip
            top = top or ref
        for name, parent in DEPARTMENTS.items():
            above = self._books.ref("Department", parent) if parent else None
            self._books.put_in_list(
                "Department",
                name,
                name=name,
                parent=above,
                isInactive=False,
                includeChildren=False,
                subsidiaryList=list(self._books.refs["Subsidiary"].values()),
            )
        for number, (name, kind, parent_name) in CHART.items():
            above = self._books.ref("Account", parent_name) if parent_name else None
            self._books.put_in_list(
                "Account", name, acctNumber=number, acctName=name, acctType=kind, parent=above,
                isInactive=False, includeChildren=True, inventory=False, eliminate=False,
                generalRate="_current", cashFlowRate="_average", revalue=False,
                currency=self._books.ref("Currency", BASE_CURRENCY), openingBalance=0.0,
                description=f"{name} of the company",
                subsidiaryList=list(self._books.refs["Subsidiary"].values()),
            )  # fmt: skip
        for name, days in TERMS.items():
            self._books.put_in_list("Term", name, name=name, isInactive=False, daysUntilNetDue=days)
        for name, account in EXPENSE_CATEGORIES.items():
            self._books.put_in_list(
                "ExpenseCategory", name, name=name, isInactive=False, expenseAcct=self._books.ref("Account", account)
            )  # fmt: skip
        for name, (kind, price, account) in ITEMS.items():
            created = self._books.at(-690 + 7 * len(self._books.refs.get("Item", {})))
            ref = Ref(self._books.new_id("Item"), name)
            self._books.refs.setdefault("Item", {})[name] = ref
            self._books.put(
                kind,
                created,
                {
                    "internalId": ref.id, "externalId": f"item-{ref.id}", "itemId": name,
                    "displayName": name, "salesDescription": f"{name}, by the seat & year",
                    "incomeAccount": self._books.ref("Account", account), "rate": price,
                    "isInactive": False, "isTaxable": False, "createdDate": created,
                    "lastModifiedDate": created,
                    "subsidiaryList": list(self._books.refs["Subsidiary"].values()),
                },
            )  # fmt: skip
        self._accounting_periods()
        self._vendors()

    def _accounting_periods(self) -> None:
        anchor = self._books.world.clock.anchor.date()
        closed_before = anchor - timedelta(days=45)
        calendar = Ref("1", "Standard Fiscal Calendar")

        def period(name: str, start: date, end: date, parent: Ref | None, **flags: bool) -> Ref:
            is_closed = end < closed_before
            closed_on = datetime(end.year, end.month, end.day, 18, tzinfo=UTC) + timedelta(days=20)
            return self._books.put_in_list(
                "AccountingPeriod", name, periodName=name, parent=parent, startDate=start,
                endDate=end, fiscalCalendar=calendar, isAdjust=False, closed=is_closed,
                closedOnDate=closed_on if is_closed else None, apLocked=is_closed,
                arLocked=is_closed, payrollLocked=is_closed, allLocked=is_closed,
                allowNonGLChanges=not is_closed,
                isQuarter=flags.get("quarter", False), isYear=flags.get("year", False),
            )  # fmt: skip

        for year in range(anchor.year - 2, anchor.year + 2):
            whole = period(f"FY {year}", date(year, 1, 1), date(year, 12, 31), None, year=True)
            for quarter in range(4):
                first = 3 * quarter + 1
                third = period(
                    f"Q{quarter + 1} {year}", date(year, first, 1), _month_end(year, first + 2),
                    whole, quarter=True,
                )  # fmt: skip
                for month in range(first, first + 3):
                    start = date(year, month, 1)
                    name = f"{start:%b} {year}"
                    self._books.periods[year, month] = period(
                        name, start, _month_end(year, month), third
                    )

    def _vendors(self) -> None:
        rng = dice(f"{self._books.world.seed}:vendors")
        for name, (category, department, account, _low, _high) in VENDORS.items():
            given, family = person(rng)
            since = self._books.at(rng.uniform(-690, -560))
            ref = Ref(self._books.new_id("Vendor"), name)
            self._books.refs.setdefault("Vendor", {})[name] = ref
            host = "".join(c for c in name.lower() if c.isalnum())
            record: Record = {
                "internalId": ref.id, "externalId": f"vendor-{ref.id}", "entityId": name,
                "companyName": name, "legalName": f"{name}, Inc.", "isPerson": False,
                "phone": f"+1 415 555 {rng.randrange(10_000):04d}",
                "email": f"{mailbox(given, family)}@{host}.example", "isInactive": False,
                "dateCreated": since, "lastModifiedDate": since,
                "category": Ref(str(1 + len(category)), category),
                "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))),
                "expenseAccount": self._books.ref("Account", account),
                "payablesAccount": self._books.ref("Account", "Accounts Payable"),
                "currency": self._books.ref("Currency", BASE_CURRENCY), "is1099Eligible": False,
                "terms": self._books.ref("Term", "Net 30"), "balance": 0.0,
                "customFieldList": [
                    Custom("String", "custentity_department", department),
                    Custom("Boolean", "custentity_preferred", rng.random() < 0.4),
                ],
            }  # fmt: skip
            self._books.put("Vendor", since, record)


def _month_end(year: int, month: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)
