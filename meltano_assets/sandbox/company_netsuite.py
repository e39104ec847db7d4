"""The company's books: what its finance people keep in NetSuite.

All of it follows from the sales side: won deals are invoiced, paid, sometimes credited; what
campaigns cost comes as vendor bills of the same sum; people hand in expense reports; payroll is
booked by department. Each record is a list of versions with their moments, some of them ahead
(a payment due next month), so that the books of any moment are a look at them. Amounts of a
transaction are in its own currency.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from meltano_assets.sandbox.company_books import (
    BASE_CURRENCY,
    CHART,
    CURRENCIES,
    DEPARTMENTS,
    EXPENSE_CATEGORIES,
    ITEMS,
    PAYROLL,
    SUBSIDIARIES,
    TERMS,
    VENDORS,
    Custom,
    Ref,
)
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_staff import Staff, user_stay
from meltano_assets.sandbox.company_words import dice, mailbox, person
from meltano_assets.sandbox.company_world import World

#: Months of history, as far back as the sales side goes.
_MONTHS = 18
_DUPLICATES = 9
_TRANSACTIONS = (
    "Invoice", "CustomerPayment", "CreditMemo", "VendorBill", "VendorPayment", "ExpenseReport",
    "JournalEntry",
)  # fmt: skip
_ENTITIES = ("Customer", "Vendor", "Employee")


@dataclass(frozen=True, slots=True)
class Deleted:
    """A record that is gone, as NetSuite remembers it."""

    kind: str
    internal_id: str
    name: str
    at: datetime


class Books:
    """The books of a world, built day by day as the world is."""

    def __init__(self, world: World, hiring: HiringDesk) -> None:
        self._world = world
        self._hiring = hiring
        self._staff = Staff(self, world.seed)
        self._built = -1
        self._versions: dict[tuple[str, str], list[tuple[datetime, Record | None]]] = {}
        self._numbers: dict[str, int] = {}
        self._customers: dict[str, Ref] = {}
        self._accounts: dict[str, Record] = {}
        self._invoiced: set[str] = set()
        self._spent: dict[str, float] = {}
        self._periods: dict[tuple[int, int], Ref] = {}
        self._refs: dict[str, dict[str, Ref]] = {}
        self._employees: list[tuple[Ref, Ref]] = []

    def build(self, day: int) -> None:
        """Keep the books until the end of that day."""
        while self._built < day:
            self._built += 1
            if self._built == 0:
                self._lists()
                self._history()
            else:
                self._ordinary_day(self._built)
            self._sales(self._built)
            self._marketing(self._built)
            self._hiring.build(self._built)
            until = self._at(self._built)
            self._staff.join(self._hiring.hires(int(until.timestamp() * 1000)), until)

    def state(self, moment: datetime) -> dict[str, dict[str, Record]]:
        """Record type → internal id → record, as they are at that moment."""
        found: dict[str, dict[str, Record]] = {}
        for (kind, key), versions in self._versions.items():
            current = [record for at, record in versions if at <= moment]
            if current and current[-1] is not None:
                found.setdefault(kind, {})[key] = current[-1]
        return found

    def deleted(self, moment: datetime) -> list[Deleted]:
        """What had been deleted by that moment, oldest first."""
        gone = []
        for (kind, key), versions in self._versions.items():
            at, record = versions[-1]
            if record is None and at <= moment:
                last = versions[-2][1] or {}
                name = last.get("tranId") or last.get("entityId") or key
                gone.append(Deleted(kind, key, str(name), at))
        return sorted(gone, key=lambda item: (item.at, item.internal_id))

    def changes(self, since: datetime, until: datetime) -> dict[str, int]:
        """How many records of each type came, changed or went after ``since`` until ``until``."""
        counts: dict[str, int] = {}
        for (kind, _key), versions in self._versions.items():
            if any(since < at <= until for at, _record in versions):
                counts[kind] = counts.get(kind, 0) + 1
        return counts

    # Records and their versions

    def new_id(self, kind: str) -> str:
        """The next number of that kind of record."""
        space = (
            "transaction"
            if kind in _TRANSACTIONS
            else "entity"
            if kind in _ENTITIES
            else "item"
            if kind.endswith("Item")
            else kind
        )
        first = {"transaction": 1000, "entity": 100}.get(space, 0)
        number = self._numbers.get(space, first) + 1
        self._numbers[space] = number
        return str(number)

    def _number(self, prefix: str) -> str:
        number = self._numbers.get(prefix, 1000) + 1
        self._numbers[prefix] = number
        return f"{prefix}{number}"

    def put(self, kind: str, at: datetime, record: Record) -> Record:
        """The record exists, or has changed, since that moment."""
        versions = self._versions.setdefault((kind, str(record["internalId"])), [])
        if versions and at <= versions[-1][0]:
            at = versions[-1][0] + timedelta(seconds=1)
        if "lastModifiedDate" in record:
            record = {**record, "lastModifiedDate": at}
        versions.append((at, record))
        return record

    def _delete(self, kind: str, key: str, at: datetime) -> None:
        versions = self._versions[kind, key]
        versions.append((max(at, versions[-1][0] + timedelta(seconds=1)), None))

    def ref(self, kind: str, name: str) -> Ref:
        """A reference to what has that name in a list."""
        return self._refs[kind][name]

    def _list(self, kind: str, label: str, /, **fields: object) -> Ref:
        """A record of a list, there since ever."""
        ref = Ref(self.new_id(kind), label)
        self._refs.setdefault(kind, {})[label] = ref
        self.put(kind, self._at(-700), {"internalId": ref.id, **fields})
        return ref

    # Moments

    def _at(self, days: float) -> datetime:
        return self._world.clock.at(days)

    @staticmethod
    def _stamp(value: object) -> datetime:
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S.%f%z")

    def _period(self, day: date) -> Ref | None:
        return self._periods.get((day.year, day.month))

    # Lists

    def _lists(self) -> None:
        for symbol, (name, display, rate) in CURRENCIES.items():
            ref = self._list(
                "Currency", symbol, name=name, symbol=symbol, isBaseCurrency=symbol == BASE_CURRENCY,
                isInactive=False, overrideCurrencyFormat=False, displaySymbol=display,
                symbolPlacement="_beforeNumber", formatSample=f"{display}1,234.56",
                exchangeRate=rate, inclInFxRateUpdates=symbol != BASE_CURRENCY,
                currencyPrecision="_two",
            )  # fmt: skip
            self._refs["Currency"][symbol] = Ref(ref.id, name)
        top: Ref | None = None
        for name, (legal, country, symbol, city) in SUBSIDIARIES.items():
            ref = self._list(
                "Subsidiary", name, name=name, legalName=legal, parent=top, isInactive=False,
                country=country, currency=self.ref("Currency", symbol), isElimination=False,
                mainAddress={"internalId": "1", "country": country, "addressee": legal,
                             "addr1": "1 Market Street", "city": city, "zip": "94105",
                             "addrText": f"{legal}\n1 Market Street\n{city}", "override": False},
                url="http://meltano-sandbox.com",
            )  # fmt: skip
            top = top or ref
        for name, parent in DEPARTMENTS.items():
            above = self.ref("Department", parent) if parent else None
            self._list(
                "Department",
                name,
                name=name,
                parent=above,
                isInactive=False,
                includeChildren=False,
                subsidiaryList=list(self._refs["Subsidiary"].values()),
            )
        for number, (name, kind, parent_name) in CHART.items():
            above = self.ref("Account", parent_name) if parent_name else None
            self._list(
                "Account", name, acctNumber=number, acctName=name, acctType=kind, parent=above,
                isInactive=False, includeChildren=True, inventory=False, eliminate=False,
                generalRate="_current", cashFlowRate="_average", revalue=False,
                currency=self.ref("Currency", BASE_CURRENCY), openingBalance=0.0,
                description=f"{name} of the company",
                subsidiaryList=list(self._refs["Subsidiary"].values()),
            )  # fmt: skip
        for name, days in TERMS.items():
            self._list("Term", name, name=name, isInactive=False, daysUntilNetDue=days)
        for name, account in EXPENSE_CATEGORIES.items():
            self._list(
                "ExpenseCategory", name, name=name, isInactive=False, expenseAcct=self.ref("Account", account)
            )  # fmt: skip
        for name, (kind, price, account) in ITEMS.items():
            created = self._at(-690 + 7 * len(self._refs.get("Item", {})))
            ref = Ref(self.new_id("Item"), name)
            self._refs.setdefault("Item", {})[name] = ref
            self.put(
                kind,
                created,
                {
                    "internalId": ref.id, "externalId": f"item-{ref.id}", "itemId": name,
                    "displayName": name, "salesDescription": f"{name}, by the seat & year",
                    "incomeAccount": self.ref("Account", account), "rate": price,
                    "isInactive": False, "isTaxable": False, "createdDate": created,
                    "lastModifiedDate": created,
                    "subsidiaryList": list(self._refs["Subsidiary"].values()),
                },
            )  # fmt: skip
        self._accounting_periods()
        self._vendors()
        self._people()

    def _accounting_periods(self) -> None:
        anchor = self._world.clock.anchor.date()
        closed_before = anchor - timedelta(days=45)
        calendar = Ref("1", "Standard Fiscal Calendar")

        def period(name: str, start: date, end: date, parent: Ref | None, **flags: bool) -> Ref:
            is_closed = end < closed_before
            closed_on = datetime(end.year, end.month, end.day, 18, tzinfo=UTC) + timedelta(days=20)
            return self._list(
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
                    self._periods[year, month] = period(name, start, _month_end(year, month), third)

    def _vendors(self) -> None:
        rng = dice(f"{self._world.seed}:vendors")
        for name, (category, department, account, _low, _high) in VENDORS.items():
            given, family = person(rng)
            since = self._at(rng.uniform(-690, -560))
            ref = Ref(self.new_id("Vendor"), name)
            self._refs.setdefault("Vendor", {})[name] = ref
            host = "".join(c for c in name.lower() if c.isalnum())
            record: Record = {
                "internalId": ref.id, "externalId": f"vendor-{ref.id}", "entityId": name,
                "companyName": name, "legalName": f"{name}, Inc.", "isPerson": False,
                "phone": f"+1 415 555 {rng.randrange(10_000):04d}",
                "email": f"{mailbox(given, family)}@{host}.example", "isInactive": False,
                "dateCreated": since, "lastModifiedDate": since,
                "category": Ref(str(1 + len(category)), category),
                "subsidiary": self.ref("Subsidiary", next(iter(SUBSIDIARIES))),
                "expenseAccount": self.ref("Account", account),
                "payablesAccount": self.ref("Account", "Accounts Payable"),
                "currency": self.ref("Currency", BASE_CURRENCY), "is1099Eligible": False,
                "terms": self.ref("Term", "Net 30"), "balance": 0.0,
                "customFieldList": [
                    Custom("String", "custentity_department", department),
                    Custom("Boolean", "custentity_preferred", rng.random() < 0.4),
                ],
            }  # fmt: skip
            self.put("Vendor", since, record)

    def _people(self) -> None:
        anchor = self._at(0)
        for user in self._world.salesforce_records(0)["User"]:
            stay = user_stay(user, anchor)
            employee = self._staff.record(str(user["Id"]), stay, anchor)
            if employee is not None and user["IsActive"]:
                ref = Ref(str(employee["internalId"]), stay.name)
                self._employees.append((ref, self.ref("Department", stay.department)))

    # Costs

    def _history(self) -> None:
        rng = dice(f"{self._world.seed}:books")
        for month in range(_MONTHS):
            begin = -30.4 * (_MONTHS - month)
            for name, (_category, department, account, low, high) in VENDORS.items():
                if high:
                    amount = round(rng.uniform(low, high), 2)
                    self._bill(
                        self._at(begin + rng.uniform(1, 8)), name, amount, account, department
                    )
            for employee, department_ref in self._employees:
                if rng.random() < 0.5:
                    at = self._at(begin + rng.uniform(2, 28))
                    self._expense_report(rng, at, employee, department_ref)
            self._payroll(rng, self._at(begin + 29))
        for i in range(_DUPLICATES):
            at = self._at(-60 * (_DUPLICATES - i) + 0.3)
            bill = self._bill(
                at,
                "Northwind Hosting",
                4_321.0 + i,
                "Hosting",
                "Research & Development",
                is_paid=False,
            )
            self._delete("VendorBill", bill.id, at + timedelta(hours=5 + i))

    def _ordinary_day(self, day: int) -> None:
        rng = dice(f"{self._world.seed}:books:{day}")

        def moment() -> datetime:
            return self._at(day - 1 + rng.uniform(0.2, 0.98))

        for employee, department in rng.sample(self._employees, min(2, len(self._employees))):
            self._expense_report(rng, moment(), employee, department)
        name = rng.choice([name for name, vendor in VENDORS.items() if vendor[4]])
        _category, owner, account, low, high = VENDORS[name]
        self._bill(moment(), name, round(rng.uniform(low, high), 2), account, owner)
        if day % 2:
            # Entered twice; found out the next day.
            amount = round(rng.uniform(low, high), 2)
            again = self._bill(moment(), name, amount, account, owner, is_paid=False)
            self._delete("VendorBill", again.id, self._at(day + rng.uniform(0.2, 0.9)))
        vendor = self.ref("Vendor", name)
        versions = self._versions["Vendor", vendor.id]
        record = versions[-1][1] or {}
        phone = f"+1 415 555 {rng.randrange(10_000):04d}"
        self.put("Vendor", max(moment(), versions[-1][0]), {**record, "phone": phone})
        if day % 3 == 0:
            item = rng.choice(list(ITEMS))
            kind = ITEMS[item][0]
            known = self._versions[kind, self.ref("Item", item).id][-1][1] or {}
            price = round(float(str(known["rate"])) * 1.05, 2)
            self.put(kind, moment(), {**known, "rate": price})
        if day % 30 == 0:
            self._payroll(rng, moment())

    def _bill(
        self,
        at: datetime,
        vendor_name: str,
        amount: float,
        account: str,
        department: str,
        *,
        memo: str = "",
        campaign: str | None = None,
        is_paid: bool = True,
    ) -> Ref:
        """A vendor's bill, paid four weeks later if at all."""
        vendor = self.ref("Vendor", vendor_name)
        ref = Ref(self.new_id("VendorBill"), self._number("BILL"))
        day = at.date()
        due = day + timedelta(days=30)
        shares = [amount] if campaign or amount < 5_000 else _split(amount, 2)
        expenses: list[Record] = [
            {
                "line": i + 1, "account": self.ref("Account", account), "amount": share,
                "grossAmt": share, "memo": memo or f"{vendor_name} <{day:%B}> & more",
                "department": self.ref("Department", department), "isBillable": False,
                "amortizStartDate": day if i else None,
            }
            for i, share in enumerate(shares)
        ]  # fmt: skip
        record: Record = {
            "internalId": ref.id, "externalId": f"bill-{ref.id}", "createdDate": at, "lastModifiedDate": at,
            "entity": vendor, "subsidiary": self.ref("Subsidiary", next(iter(SUBSIDIARIES))),
            "account": self.ref("Account", "Accounts Payable"), "tranId": ref.name, "tranDate": day,
            "dueDate": due, "postingPeriod": self._period(day), "terms": self.ref("Term", "Net 30"),
            "currency": self.ref("Currency", BASE_CURRENCY), "currencyName": CURRENCIES[BASE_CURRENCY][0],
            "exchangeRate": 1.0, "userTotal": amount, "status": "Open", "memo": memo,
            "transactionNumber": ref.name, "department": self.ref("Department", department),
            "approvalStatus": Ref("2", "Approved"), "expenseList": expenses,
            "customFieldList": [Custom("String", "custbody_campaign", campaign)] if campaign else [],
        }  # fmt: skip
        self.put("VendorBill", at, record)
        paid = at + timedelta(days=28)
        payment = Ref(self.new_id("VendorPayment"), self._number("BP"))
        if is_paid:
            self.put(
                "VendorPayment",
                paid,
                {
                    "internalId": payment.id, "createdDate": paid, "lastModifiedDate": paid,
                    "entity": vendor, "account": self.ref("Account", "Checking"),
                    "apAcct": self.ref("Account", "Accounts Payable"), "tranId": payment.name,
                    "tranDate": paid.date(), "postingPeriod": self._period(paid.date()),
                    "currency": self.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0,
                    "currencyName": CURRENCIES[BASE_CURRENCY][0], "total": amount,
                    "subsidiary": self.ref("Subsidiary", next(iter(SUBSIDIARIES))),
                    "status": "Approved", "toAch": True,
                    "applyList": [_application(ref, "Bill", day, amount, BASE_CURRENCY)],
                },
            )  # fmt: skip
            self.put("VendorBill", paid, {**record, "status": "Paid In Full"})
        return ref

    def _expense_report(
        self, rng: random.Random, at: datetime, employee: Ref, department: Ref
    ) -> None:
        ref = Ref(self.new_id("ExpenseReport"), self._number("EXP"))
        lines: list[Record] = []
        for line in range(rng.randrange(1, 4)):
            category = rng.choice(list(EXPENSE_CATEGORIES))
            amount = round(rng.uniform(8, 900), 2)
            lines.append(
                {
                    "line": line + 1, "expenseDate": at.date() - timedelta(days=line + 1),
                    "category": self.ref("ExpenseCategory", category), "amount": amount,
                    "currency": self.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0,
                    "foreignAmount": amount, "department": department, "isBillable": False,
                    "memo": rng.choice(["Taxi", "Dinner with “customer” 🍝", "Flight", "Books"]),
                    "isNonReimbursable": False, "receipt": rng.random() < 0.9,
                }
            )  # fmt: skip
        total = round(sum(float(str(line["amount"])) for line in lines), 2)
        self.put(
            "ExpenseReport",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "status": "Approved by Accounting",
                "account": self.ref("Account", "Accounts Payable"), "entity": employee,
                "subsidiary": self.ref("Subsidiary", next(iter(SUBSIDIARIES))), "tranId": ref.name,
                "postingPeriod": self._period(at.date()), "tranDate": at.date(), "dueDate": at.date(),
                "approvalStatus": Ref("2", "Approved"), "total": total, "amount": total, "advance": 0.0,
                "complete": True, "supervisorApproval": True, "accountingApproval": True,
                "useMultiCurrency": False, "department": department, "expenseList": lines,
            },
        )  # fmt: skip

    def _payroll(self, rng: random.Random, at: datetime) -> None:
        ref = Ref(self.new_id("JournalEntry"), self._number("JE"))
        lines: list[Record] = []
        total = 0.0
        for department, cost in PAYROLL.items():
            debit = round(cost * rng.uniform(0.95, 1.1), 2)
            total = round(total + debit, 2)
            lines.append(
                {
                    "line": len(lines), "account": self.ref("Account", "Salaries"), "debit": debit,
                    "department": self.ref("Department", department), "memo": "Payroll", "eliminate": False,
                }
            )  # fmt: skip
        lines.append(
            {"line": len(lines), "account": self.ref("Account", "Accrued Payroll"), "credit": total,
             "memo": "Payroll", "eliminate": False}
        )  # fmt: skip
        self.put(
            "JournalEntry",
            at,
            {
                "internalId": ref.id, "externalId": f"payroll-{ref.id}", "createdDate": at, "lastModifiedDate": at,
                "postingPeriod": self._period(at.date()), "tranDate": at.date(), "tranId": ref.name,
                "currency": self.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0, "approved": True,
                "subsidiary": self.ref("Subsidiary", next(iter(SUBSIDIARIES))), "isBookSpecific": False,
                "reversalDefer": False, "lineList": lines,
            },
        )  # fmt: skip

    def _marketing(self, day: int) -> None:
        """What campaigns cost, as bills of agencies; later costs as further bills."""
        agencies = [name for name, vendor in VENDORS.items() if vendor[0] == "Agency"]
        for campaign in self._world.salesforce_records(day)["Campaign"]:
            key, cost = str(campaign["Id"]), campaign["ActualCost"]
            if campaign["IsDeleted"] or cost is None:
                continue
            more = round(float(str(cost)) - self._spent.get(key, 0.0), 2)
            if more <= 0:
                continue
            self._spent[key] = float(str(cost))
            if day:
                at = self._stamp(campaign["SystemModstamp"])
            else:
                start = datetime.fromisoformat(f"{campaign['StartDate']}T16:00:00+00:00")
                at = min(start, self._at(-0.6))
            self._bill(
                at,
                dice(f"{self._world.seed}:{key}").choice(agencies),
                more,
                "Marketing Programs",
                "Marketing",
                memo=str(campaign["Name"]),
                campaign=key,
            )

    # Sales

    def _sales(self, day: int) -> None:
        records = self._world.salesforce_records(day)
        self._accounts.update({str(account["Id"]): account for account in records["Account"]})
        for account in records["Account"]:
            key = str(account["Id"])
            known = self._customers.get(key)
            if known is None and account["Type"] == "Customer" and not account["IsDeleted"]:
                self._customer(account, self._stamp(account["CreatedDate"]))
            elif known is not None and day:
                at = self._stamp(account["SystemModstamp"])
                if account["IsDeleted"]:
                    self._delete("Customer", known.id, at)
                else:
                    last = self._versions["Customer", known.id][-1][1] or {}
                    changes = {"companyName": account["Name"], "phone": account["Phone"]}
                    self.put("Customer", at, {**last, **changes})
        for deal in records["Opportunity"]:
            if deal["IsWon"] and not deal["IsDeleted"] and deal["Id"] not in self._invoiced:
                amount = float(str(deal["Amount"] or 0))
                if amount > 0:
                    self._invoiced.add(str(deal["Id"]))
                    if day:
                        at = self._stamp(deal["SystemModstamp"])
                    else:
                        close = datetime.fromisoformat(f"{deal['CloseDate']}T18:00:00+00:00")
                        at = min(close, self._at(-0.5))
                    self._invoice(deal, at, amount)

    def _customer(self, account: Mapping[str, object], at: datetime) -> Ref:
        key = str(account["Id"])
        rng = dice(f"{self._world.seed}:customer:{key}")
        given, family = person(rng)
        number = self._numbers.get("CUST", 100) + 1
        self._numbers["CUST"] = number
        ref = Ref(self.new_id("Customer"), f"CUST{number} {account['Name']}")
        self._customers[key] = ref
        subsidiary = self.ref("Subsidiary", rng.choice([*SUBSIDIARIES, next(iter(SUBSIDIARIES))]))
        email = f"{mailbox(given, family)}.billing@customer{number}.example"
        self.put(
            "Customer",
            at,
            {
                "internalId": ref.id, "externalId": key, "entityId": ref.name, "isPerson": False,
                "companyName": account["Name"], "phone": account["Phone"], "email": email,
                "entityStatus": Ref("13", "CUSTOMER-Closed Won"), "url": _web_address(account["Website"]),
                "isInactive": False, "dateCreated": at, "lastModifiedDate": at, "subsidiary": subsidiary,
                "category": Ref("1", "Corporate"), "terms": self.ref("Term", rng.choice(list(TERMS))),
                "currency": self.ref("Currency", BASE_CURRENCY), "taxable": rng.random() < 0.5,
                "balance": 0.0, "overdueBalance": 0.0, "creditLimit": float(rng.randrange(1, 50) * 1000),
                "receivablesAccount": self.ref("Account", "Accounts Receivable"),
                "stage": "_customer", "emailPreference": "_default", "language": "_englishUS",
                "firstVisit": at, "visits": rng.randrange(40), "startDate": at.date(),
                "addressbookList": [
                    {"defaultShipping": True, "defaultBilling": True, "internalId": str(number),
                     "label": "Head office",
                     "addressbookAddress": {"internalId": str(number), "country": "_unitedStates",
                                            "attention": f"{given} {family}", "addressee": account["Name"],
                                            "addr1": f"{number} Main Street", "city": "Springfield",
                                            "override": False}}
                ],
                "customFieldList": [
                    Custom("String", "custentity_salesforce_id", key),
                    Custom("Boolean", "custentity_strategic", rng.random() < 0.2),
                    Custom("Select", "custentity_region", Ref(str(1 + number % 3), ("NA", "EMEA", "APAC")[number % 3])),
                    Custom("Double", "custentity_health", round(rng.uniform(0, 10), 1)),
                    Custom("Long", "custentity_seats", rng.randrange(5, 900)),
                    Custom("Date", "custentity_renewal", at + timedelta(days=365)),
                    Custom("MultiSelect", "custentity_products", [Ref("1", "Premium"), Ref("2", "Ultimate")]),
                ],
            },
        )  # fmt: skip
        return ref

    def _invoice(self, deal: Mapping[str, object], at: datetime, amount: float) -> None:
        key = str(deal["Id"])
        rng = dice(f"{self._world.seed}:invoice:{key}")
        account = self._accounts[str(deal["AccountId"])]
        customer = self._customers.get(str(account["Id"])) or self._customer(account, at)
        symbol = str(deal["CurrencyIsoCode"])
        rate = CURRENCIES[symbol][2]
        subsidiary = next(
            (name for name, facts in SUBSIDIARIES.items() if facts[2] == symbol),
            next(iter(SUBSIDIARIES)),
        )
        common: Record = {
            "subsidiary": self.ref("Subsidiary", subsidiary), "currency": self.ref("Currency", symbol),
            "currencyName": CURRENCIES[symbol][0], "exchangeRate": rate,
        }  # fmt: skip
        ref = Ref(self.new_id("Invoice"), self._number("INV"))
        term = rng.choice(list(TERMS))
        lines = []
        for i, (item, share) in enumerate(_invoice_lines(rng, amount)):
            lines.append(
                {
                    "item": self.ref("Item", item), "line": i + 1, "description": f"{item} for {account['Name']}",
                    "amount": share, "quantity": float(rng.randrange(1, 500)), "rate": f"{share:.2f}",
                    "isTaxable": False, "grossAmt": share, "department": self.ref("Department", "Sales"),
                    "revRecStartDate": at.date(), "revRecEndDate": at.date() + timedelta(days=365),
                }
            )  # fmt: skip
        record: Record = {
            "internalId": ref.id, "externalId": key, "createdDate": at, "lastModifiedDate": at,
            "entity": customer, "tranDate": at.date(), "tranId": ref.name, "transactionNumber": ref.name,
            "postingPeriod": self._period(at.date()), "department": self.ref("Department", "Sales"),
            "terms": self.ref("Term", term), "dueDate": at.date() + timedelta(days=TERMS[term]),
            "account": self.ref("Account", "Accounts Receivable"), "memo": str(deal["Name"]),
            "email": f"billing@customer{customer.id}.example", "toBeEmailed": True, "isTaxable": False,
            "amountPaid": 0.0, "amountRemaining": amount, "subTotal": amount, "total": amount,
            "discountTotal": 0.0, "taxTotal": 0.0, "status": "Open", "itemList": lines, **common,
            "billingAddress": {"country": "_unitedStates", "addressee": account["Name"],
                               "addr1": f"{customer.id} Main Street", "city": "Springfield",
                               "addrText": f"{account['Name']}\n{customer.id} Main Street"},
            "customFieldList": [Custom("String", "custbody_salesforce_opportunity", key)],
        }  # fmt: skip
        self.put("Invoice", at, record)
        fate = rng.random()
        later = (at + timedelta(days=rng.uniform(12, 58))).replace(microsecond=0)
        if fate < 0.80:
            self._payment(customer, ref, record, later, amount, common)
        elif fate < 0.87:
            self._payment(customer, ref, record, later, round(amount * 0.4, 2), common)
        elif fate < 0.92:
            self._credit_memo(customer, ref, record, later, amount, common, lines)

    def _payment(
        self,
        customer: Ref,
        invoice: Ref,
        record: Record,
        at: datetime,
        amount: float,
        common: Record,
    ) -> None:
        ref = Ref(self.new_id("CustomerPayment"), self._number("PYMT"))
        symbol = _symbol(record)
        total = float(str(record["total"]))
        self.put(
            "CustomerPayment",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "tranId": ref.name,
                "arAcct": self.ref("Account", "Accounts Receivable"), "customer": customer,
                "tranDate": at.date(), "postingPeriod": self._period(at.date()), "status": "Deposited",
                "payment": amount, "applied": amount, "unapplied": 0.0, "total": amount, "autoApply": False,
                "paymentMethod": Ref("2", "Wire"), "account": self.ref("Account", "Checking"),
                "applyList": [_application(invoice, "Invoice", _day(record["tranDate"]), amount, symbol, total)],
                **common,
            },
        )  # fmt: skip
        self._settle(record, at, amount)

    def _credit_memo(
        self,
        customer: Ref,
        invoice: Ref,
        record: Record,
        at: datetime,
        amount: float,
        common: Record,
        lines: list[Record],
    ) -> None:
        ref = Ref(self.new_id("CreditMemo"), self._number("CM"))
        symbol = _symbol(record)
        self.put(
            "CreditMemo",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "tranId": ref.name,
                "entity": customer, "tranDate": at.date(), "postingPeriod": self._period(at.date()),
                "account": self.ref("Account", "Accounts Receivable"), "createdFrom": invoice,
                "memo": "Cancelled within the term", "subTotal": amount, "total": amount, "applied": amount,
                "unapplied": 0.0, "amountRemaining": 0.0, "amountPaid": amount, "status": "Fully Applied",
                "itemList": lines, "department": self.ref("Department", "Sales"),
                "applyList": [_application(invoice, "Invoice", _day(record["tranDate"]), amount, symbol)],
                **common,
            },
        )  # fmt: skip
        self._settle(record, at, amount)

    def _settle(self, record: Record, at: datetime, amount: float) -> None:
        left = round(float(str(record["total"])) - amount, 2)
        settled = {"amountPaid": amount, "amountRemaining": left}
        status = "Open" if left else "Paid In Full"
        self.put("Invoice", at, {**record, **settled, "status": status})


def _application(
    document: Ref, kind: str, day: date, amount: float, symbol: str, total: float | None = None
) -> Record:
    whole = amount if total is None else total
    return {
        "apply": True, "doc": int(document.id), "line": 0, "applyDate": day, "type": kind,
        "refNum": document.name, "total": whole, "due": whole,
        "currency": CURRENCIES[symbol][0], "amount": amount,
    }  # fmt: skip


def _invoice_lines(rng: random.Random, amount: float) -> Iterator[tuple[str, float]]:
    plans = [name for name in ITEMS if name.startswith("Subscription")]
    services = [name for name in ITEMS if not name.startswith(("Subscription", "Partner"))]
    plan = rng.choice(plans)
    if amount < 8_000:
        yield plan, amount
        return
    extra = round(amount * rng.uniform(0.05, 0.2), 2)
    yield plan, round(amount - extra, 2)
    yield rng.choice(services), extra


def _split(amount: float, parts: int) -> list[float]:
    share = round(amount / parts, 2)
    return [share] * (parts - 1) + [round(amount - share * (parts - 1), 2)]


def _month_end(year: int, month: int) -> date:
    following = date(year + month // 12, month % 12 + 1, 1)
    return following - timedelta(days=1)


def _day(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError("not a date")
    return value


def _web_address(website: object) -> str | None:
    if website is None:
        return None
    text = str(website)
    return text if "://" in text else f"http://{text}"


def book_truths(books: Books, moment: datetime) -> dict[str, object]:
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
                name = _name(line["department"])
                departments[name] = departments.get(name, 0.0) + float(str(line["amount"]))
    campaigns: dict[str, float] = {}
    for record in state.get("VendorBill", {}).values():
        for custom in _customs(record):
            if custom.script_id == "custbody_campaign":
                key = str(custom.value)
                campaigns[key] = campaigns.get(key, 0.0) + float(str(record["userTotal"]))
    by_currency: dict[str, float] = {}
    for record in state.get("Invoice", {}).values():
        symbol = _symbol(record)
        by_currency[symbol] = by_currency.get(symbol, 0.0) + float(str(record["total"]))
    return {
        "customers": len(state.get("Customer", {})),
        "transactions": {kind: len(state.get(kind, {})) for kind in _TRANSACTIONS},
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


def _symbol(record: Record) -> str:
    """The symbol of a transaction's currency."""
    name = _name(record["currency"])
    return next(symbol for symbol, facts in CURRENCIES.items() if facts[0] == name)


def _name(value: object) -> str:
    return value.name if isinstance(value, Ref) else ""
