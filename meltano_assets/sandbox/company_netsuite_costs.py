"""What the company spends, in its books: vendors' bills, campaigns, expense reports, payroll."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

from meltano_assets.sandbox.company_books import (
    BASE_CURRENCY,
    CURRENCIES,
    EXPENSE_CATEGORIES,
    ITEMS,
    PAYROLL,
    SUBSIDIARIES,
    VENDORS,
    Custom,
    Ref,
)
from meltano_assets.sandbox.company_netsuite_records import BookRecords, application, moment_of
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice

#: Months of history, as far back as the sales side goes.
_MONTHS = 18
_DUPLICATES = 9


class Costs:
    """Writes into the books what is spent, and what is paid of it."""

    def __init__(self, books: BookRecords) -> None:
        self._books = books
        self._spent: dict[str, float] = {}

    def history(self, employees: Sequence[tuple[Ref, Ref]]) -> None:
        """The months before the first day; ``employees`` come with their departments."""
        rng = dice(f"{self._books.world.seed}:books")
        for month in range(_MONTHS):
            begin = -30.4 * (_MONTHS - month)
            for name, (_category, department, account, low, high) in VENDORS.items():
                if high:
                    amount = round(rng.uniform(low, high), 2)
                    self._bill(
                        self._books.at(begin + rng.uniform(1, 8)), name, amount, account, department
                    )
            for employee, department_ref in employees:
                if rng.random() < 0.5:
                    at = self._books.at(begin + rng.uniform(2, 28))
                    self._expense_report(rng, at, employee, department_ref)
            self._payroll(rng, self._books.at(begin + 29))
        for i in range(_DUPLICATES):
            at = self._books.at(-60 * (_DUPLICATES - i) + 0.3)
            bill = self._bill(
                at,
                "Northwind Hosting",
                4_321.0 + i,
                "Hosting",
                "Research & Development",
                is_paid=False,
            )
            self._books.delete("VendorBill", bill.id, at + timedelta(hours=5 + i))

    def ordinary_day(self, day: int, employees: Sequence[tuple[Ref, Ref]]) -> None:
        """What is spent on any later day, and what changes in the lists."""
        rng = dice(f"{self._books.world.seed}:books:{day}")

        def moment() -> datetime:
            return self._books.at(day - 1 + rng.uniform(0.2, 0.98))

        for employee, department in rng.sample(employees, min(2, len(employees))):
            self._expense_report(rng, moment(), employee, department)
        name = rng.choice([name for name, vendor in VENDORS.items() if vendor[4]])
        _category, owner, account, low, high = VENDORS[name]
        self._bill(moment(), name, round(rng.uniform(low, high), 2), account, owner)
        if day % 2:
            # Entered twice; found out the next day.
            amount = round(rng.uniform(low, high), 2)
            again = self._bill(moment(), name, amount, account, owner, is_paid=False)
            self._books.delete("VendorBill", again.id, self._books.at(day + rng.uniform(0.2, 0.9)))
        vendor = self._books.ref("Vendor", name)
        versions = self._books.versions["Vendor", vendor.id]
        record = versions[-1][1] or {}
        phone = f"+1 415 555 {rng.randrange(10_000):04d}"
        self._books.put("Vendor", max(moment(), versions[-1][0]), {**record, "phone": phone})
        if day % 3 == 0:
            item = rng.choice(list(ITEMS))
            kind = ITEMS[item][0]
            known = self._books.versions[kind, self._books.ref("Item", item).id][-1][1] or {}
            price = round(float(str(known["rate"])) * 1.05, 2)
            self._books.put(kind, moment(), {**known, "rate": price})
        if day % 30 == 0:
            self._payroll(rng, moment())

    def marketing(self, day: int) -> None:
        """What campaigns cost, as bills of agencies; later costs as further bills."""
        agencies = [name for name, vendor in VENDORS.items() if vendor[0] == "Agency"]
        for campaign in self._books.world.salesforce_records(day)["Campaign"]:
            key, cost = str(campaign["Id"]), campaign["ActualCost"]
            if campaign["IsDeleted"] or cost is None:
                continue
            more = round(float(str(cost)) - self._spent.get(key, 0.0), 2)
            if more <= 0:
                continue
            self._spent[key] = float(str(cost))
            if day:
                at = moment_of(campaign["SystemModstamp"])
            else:
                start = datetime.fromisoformat(f"{campaign['StartDate']}T16:00:00+00:00")
                at = min(start, self._books.at(-0.6))
            self._bill(
                at,
                dice(f"{self._books.world.seed}:{key}").choice(agencies),
                more,
                "Marketing Programs",
                "Marketing",
                memo=str(campaign["Name"]),
                campaign=key,
            )

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
        vendor = self._books.ref("Vendor", vendor_name)
        ref = Ref(self._books.new_id("VendorBill"), self._books.number("BILL"))
        day = at.date()
        due = day + timedelta(days=30)
        shares = [amount] if campaign or amount < 5_000 else _split(amount, 2)
        expenses: list[Record] = [
            {
                "line": i + 1, "account": self._books.ref("Account", account), "amount": share,
                "grossAmt": share, "memo": memo or f"{vendor_name} <{day:%B}> & more",
                "department": self._books.ref("Department", department), "isBillable": False,
                "amortizStartDate": day if i else None,
            }
            for i, share in enumerate(shares)
        ]  # fmt: skip
        record: Record = {
            "internalId": ref.id, "externalId": f"bill-{ref.id}", "createdDate": at, "lastModifiedDate": at,
            "entity": vendor, "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))),
            "account": self._books.ref("Account", "Accounts Payable"), "tranId": ref.name, "tranDate": day,
            "dueDate": due, "postingPeriod": self._books.period(day), "terms": self._books.ref("Term", "Net 30"),
            "currency": self._books.ref("Currency", BASE_CURRENCY), "currencyName": CURRENCIES[BASE_CURRENCY][0],
            "exchangeRate": 1.0, "userTotal": amount, "status": "Open", "memo": memo,
            "transactionNumber": ref.name, "department": self._books.ref("Department", department),
            "approvalStatus": Ref("2", "Approved"), "expenseList": expenses,
            "customFieldList": [Custom("String", "custbody_campaign", campaign)] if campaign else [],
        }  # fmt: skip
        self._books.put("VendorBill", at, record)
        paid = at + timedelta(days=28)
        payment = Ref(self._books.new_id("VendorPayment"), self._books.number("BP"))
        if is_paid:
            self._books.put(
                "VendorPayment",
                paid,
                {
                    "internalId": payment.id, "createdDate": paid, "lastModifiedDate": paid,
                    "entity": vendor, "account": self._books.ref("Account", "Checking"),
                    "apAcct": self._books.ref("Account", "Accounts Payable"), "tranId": payment.name,
                    "tranDate": paid.date(), "postingPeriod": self._books.period(paid.date()),
                    "currency": self._books.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0,
                    "currencyName": CURRENCIES[BASE_CURRENCY][0], "total": amount,
                    "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))),
                    "status": "Approved", "toAch": True,
                    "applyList": [application(ref, "Bill", day, amount, BASE_CURRENCY)],
                },
            )  # fmt: skip
            self._books.put("VendorBill", paid, {**record, "status": "Paid In Full"})
        return ref

    def _expense_report(
        self, rng: random.Random, at: datetime, employee: Ref, department: Ref
    ) -> None:
        ref = Ref(self._books.new_id("ExpenseReport"), self._books.number("EXP"))
        lines: list[Record] = []
        for line in range(rng.randrange(1, 4)):
            category = rng.choice(list(EXPENSE_CATEGORIES))
            amount = round(rng.uniform(8, 900), 2)
            lines.append(
                {
                    "line": line + 1, "expenseDate": at.date() - timedelta(days=line + 1),
                    "category": self._books.ref("ExpenseCategory", category), "amount": amount,
                    "currency": self._books.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0,
                    "foreignAmount": amount, "department": department, "isBillable": False,
                    "memo": rng.choice(["Taxi", "Dinner with “customer” 🍝", "Flight", "Books"]),
                    "isNonReimbursable": False, "receipt": rng.random() < 0.9,
                }
            )  # fmt: skip
        total = round(sum(float(str(line["amount"])) for line in lines), 2)
        self._books.put(
            "ExpenseReport",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "status": "Approved by Accounting",
                "account": self._books.ref("Account", "Accounts Payable"), "entity": employee,
                "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))), "tranId": ref.name,
                "postingPeriod": self._books.period(at.date()), "tranDate": at.date(), "dueDate": at.date(),
                "approvalStatus": Ref("2", "Approved"), "total": total, "amount": total, "advance": 0.0,
                "complete": True, "supervisorApproval": True, "accountingApproval": True,
                "useMultiCurrency": False, "department": department, "expenseList": lines,
            },
        )  # fmt: skip

    def _payroll(self, rng: random.Random, at: datetime) -> None:
        ref = Ref(self._books.new_id("JournalEntry"), self._books.number("JE"))
        lines: list[Record] = []
        total = 0.0
        for department, cost in PAYROLL.items():
            debit = round(cost * rng.uniform(0.95, 1.1), 2)
            total = round(total + debit, 2)
            lines.append(
                {
                    "line": len(lines), "account": self._books.ref("Account", "Salaries"), "debit": debit,
                    "department": self._books.ref("Department", department), "memo": "Payroll", "eliminate": False,
                }
            )  # fmt: skip
        lines.append(
            {"line": len(lines), "account": self._books.ref("Account", "Accrued Payroll"), "credit": total,
             "memo": "Payroll", "eliminate": False}
        )  # fmt: skip
        self._books.put(
            "JournalEntry",
            at,
            {
                "internalId": ref.id, "externalId": f"payroll-{ref.id}", "createdDate": at, "lastModifiedDate": at,
                "postingPeriod": self._books.period(at.date()), "tranDate": at.date(), "tranId": ref.name,
                "currency": self._books.ref("Currency", BASE_CURRENCY), "exchangeRate": 1.0, "approved": True,
                "subsidiary": self._books.ref("Subsidiary", next(iter(SUBSIDIARIES))), "isBookSpecific": False,
                "reversalDefer": False, "lineList": lines,
            },
        )  # fmt: skip


def _split(amount: float, parts: int) -> list[float]:
    share = round(amount / parts, 2)
    return [share] * (parts - 1) + [round(amount - share * (parts - 1), 2)]
