"""What customers owe, in the books: customers, invoices of won deals, payments and credit memos."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

from meltano_assets.sandbox.company_books import (
    BASE_CURRENCY,
    CURRENCIES,
    ITEMS,
    SUBSIDIARIES,
    TERMS,
    Custom,
    Ref,
)
from meltano_assets.sandbox.company_netsuite_records import (
    BookRecords,
    application,
    moment_of,
    symbol_of,
)
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person


class Receivables:
    """Writes into the books what follows from accounts and won deals."""

    def __init__(self, books: BookRecords) -> None:
        self._books = books
        self._customers: dict[str, Ref] = {}
        self._accounts: dict[str, Record] = {}
        self._invoiced: set[str] = set()

    def follow(self, day: int) -> None:
        """What that day's sales make of the books."""
        records = self._books.world.salesforce_records(day)
        self._accounts.update({str(account["Id"]): account for account in records["Account"]})
        for account in records["Account"]:
            key = str(account["Id"])
            known = self._customers.get(key)
            if known is None and account["Type"] == "Customer" and not account["IsDeleted"]:
                self._customer(account, moment_of(account["CreatedDate"]))
            elif known is not None and day:
                at = moment_of(account["SystemModstamp"])
                if account["IsDeleted"]:
                    self._books.delete("Customer", known.id, at)
                else:
                    last = self._books.versions["Customer", known.id][-1][1] or {}
                    changes = {"companyName": account["Name"], "phone": account["Phone"]}
                    self._books.put("Customer", at, {**last, **changes})
        for deal in records["Opportunity"]:
            if deal["IsWon"] and not deal["IsDeleted"] and deal["Id"] not in self._invoiced:
                amount = float(str(deal["Amount"] or 0))
                if amount > 0:
                    self._invoiced.add(str(deal["Id"]))
                    if day:
                        at = moment_of(deal["SystemModstamp"])
                    else:
                        close = datetime.fromisoformat(f"{deal['CloseDate']}T18:00:00+00:00")
                        at = min(close, self._books.at(-0.5))
                    self._invoice(deal, at, amount)

    def _customer(self, account: Mapping[str, object], at: datetime) -> Ref:
        key = str(account["Id"])
        rng = dice(f"{self._books.world.seed}:customer:{key}")
        given, family = person(rng)
        number = self._books.numbers.get("CUST", 100) + 1
        self._books.numbers["CUST"] = number
        ref = Ref(self._books.new_id("Customer"), f"CUST{number} {account['Name']}")
        self._customers[key] = ref
        subsidiary = self._books.ref(
            "Subsidiary", rng.choice([*SUBSIDIARIES, next(iter(SUBSIDIARIES))])
        )
        email = f"{mailbox(given, family)}.billing@customer{number}.example"
        self._books.put(
            "Customer",
            at,
            {
                "internalId": ref.id, "externalId": key, "entityId": ref.name, "isPerson": False,
                "companyName": account["Name"], "phone": account["Phone"], "email": email,
                "entityStatus": Ref("13", "CUSTOMER-Closed Won"), "url": _web_address(account["Website"]),
                "isInactive": False, "dateCreated": at, "lastModifiedDate": at, "subsidiary": subsidiary,
                "category": Ref("1", "Corporate"), "terms": self._books.ref("Term", rng.choice(list(TERMS))),
                "currency": self._books.ref("Currency", BASE_CURRENCY), "taxable": rng.random() < 0.5,
                "balance": 0.0, "overdueBalance": 0.0, "creditLimit": float(rng.randrange(1, 50) * 1000),
                "receivablesAccount": self._books.ref("Account", "Accounts Receivable"),
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
        rng = dice(f"{self._books.world.seed}:invoice:{key}")
        account = self._accounts[str(deal["AccountId"])]
        customer = self._customers.get(str(account["Id"])) or self._customer(account, at)
        symbol = str(deal["CurrencyIsoCode"])
        rate = CURRENCIES[symbol][2]
        subsidiary = next(
            (name for name, facts in SUBSIDIARIES.items() if facts[2] == symbol),
            next(iter(SUBSIDIARIES)),
        )
        common: Record = {
            "subsidiary": self._books.ref("Subsidiary", subsidiary), "currency": self._books.ref("Currency", symbol),
            "currencyName": CURRENCIES[symbol][0], "exchangeRate": rate,
        }  # fmt: skip
        ref = Ref(self._books.new_id("Invoice"), self._books.number("INV"))
        term = rng.choice(list(TERMS))
        lines = []
        for i, (item, share) in enumerate(_invoice_lines(rng, amount)):
            lines.append(
                {
                    "item": self._books.ref("Item", item), "line": i + 1, "description": f"{item} for {account['Name']}",
                    "amount": share, "quantity": float(rng.randrange(1, 500)), "rate": f"{share:.2f}",
                    "isTaxable": False, "grossAmt": share, "department": self._books.ref("Department", "Sales"),
                    "revRecStartDate": at.date(), "revRecEndDate": at.date() + timedelta(days=365),
                }
            )  # fmt: skip
        record: Record = {
            "internalId": ref.id, "externalId": key, "createdDate": at, "lastModifiedDate": at,
            "entity": customer, "tranDate": at.date(), "tranId": ref.name, "transactionNumber": ref.name,
            "postingPeriod": self._books.period(at.date()), "department": self._books.ref("Department", "Sales"),
            "terms": self._books.ref("Term", term), "dueDate": at.date() + timedelta(days=TERMS[term]),
            "account": self._books.ref("Account", "Accounts Receivable"), "memo": str(deal["Name"]),
            "email": f"billing@customer{customer.id}.example", "toBeEmailed": True, "isTaxable": False,
            "amountPaid": 0.0, "amountRemaining": amount, "subTotal": amount, "total": amount,
            "discountTotal": 0.0, "taxTotal": 0.0, "status": "Open", "itemList": lines, **common,
            "billingAddress": {"country": "_unitedStates", "addressee": account["Name"],
                               "addr1": f"{customer.id} Main Street", "city": "Springfield",
                               "addrText": f"{account['Name']}\n{customer.id} Main Street"},
            "customFieldList": [Custom("String", "custbody_salesforce_opportunity", key)],
        }  # fmt: skip
        self._books.put("Invoice", at, record)
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
        ref = Ref(self._books.new_id("CustomerPayment"), self._books.number("PYMT"))
        symbol = symbol_of(record)
        total = float(str(record["total"]))
        self._books.put(
            "CustomerPayment",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "tranId": ref.name,
                "arAcct": self._books.ref("Account", "Accounts Receivable"), "customer": customer,
                "tranDate": at.date(), "postingPeriod": self._books.period(at.date()), "status": "Deposited",
                "payment": amount, "applied": amount, "unapplied": 0.0, "total": amount, "autoApply": False,
                "paymentMethod": Ref("2", "Wire"), "account": self._books.ref("Account", "Checking"),
                "applyList": [application(invoice, "Invoice", _day(record["tranDate"]), amount, symbol, total)],
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
        ref = Ref(self._books.new_id("CreditMemo"), self._books.number("CM"))
        symbol = symbol_of(record)
        self._books.put(
            "CreditMemo",
            at,
            {
                "internalId": ref.id, "createdDate": at, "lastModifiedDate": at, "tranId": ref.name,
                "entity": customer, "tranDate": at.date(), "postingPeriod": self._books.period(at.date()),
                "account": self._books.ref("Account", "Accounts Receivable"), "createdFrom": invoice,
                "memo": "Cancelled within the term", "subTotal": amount, "total": amount, "applied": amount,
                "unapplied": 0.0, "amountRemaining": 0.0, "amountPaid": amount, "status": "Fully Applied",
                "itemList": lines, "department": self._books.ref("Department", "Sales"),
                "applyList": [application(invoice, "Invoice", _day(record["tranDate"]), amount, symbol)],
                **common,
            },
        )  # fmt: skip
        self._settle(record, at, amount)

    def _settle(self, record: Record, at: datetime, amount: float) -> None:
        left = round(float(str(record["total"])) - amount, 2)
        settled = {"amountPaid": amount, "amountRemaining": left}
        status = "Open" if left else "Paid In Full"
        self._books.put("Invoice", at, {**record, **settled, "status": status})


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


def _day(value: object) -> date:
    if not isinstance(value, date):
        raise TypeError("not a date")
    return value


def _web_address(website: object) -> str | None:
    if website is None:
        return None
    text = str(website)
    return text if "://" in text else f"http://{text}"
