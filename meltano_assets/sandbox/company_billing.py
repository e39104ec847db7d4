"""The billing side of the company: what its Zuora tenant holds, by day.

Whoever won a deal in Salesforce (or has long been a customer) has a billing account, whose
subscriptions start, grow, shrink, renew and end; invoices follow from them, and payments, refunds
and corrections from those. Every event waits in an agenda until its time has come, so history and
future are made by the same code. Times are datetimes in UTC, dates are dates, money is Decimal.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from math import floor

from meltano_assets.sandbox.company_catalog import money
from meltano_assets.sandbox.company_ledger import Ledger
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice, mailbox, person
from meltano_assets.sandbox.company_world import World

#: Name and yearly price of a seat.
PLANS = {
    "Starter": Decimal(39),
    "Premium": Decimal(199),
    "Ultimate": Decimal(1188),
}
_BIG_DEALS = ((120_000, "Ultimate"), (15_000, "Premium"), (0, "Starter"))
TRUEUP = "Trueup"
_PAYMENT_TERMS = {"Net 30": 30, "Due Upon Receipt": 0, "Net 60": 60}
_ODD_NOTES = (
    'Said "call back", then hung up',
    "Größe, naïveté; 10 % off",
    "订单 – see mail 🚀",
    "a,b,,c",
)


@dataclass(slots=True)
class Segment:
    """Seats at a price, from a day on and up to (not including) another."""

    start: date
    end: date
    quantity: int
    price: Decimal

    @property
    def mrr(self) -> Decimal:
        """Monthly recurring revenue, to Zuora's nine places."""
        return (self.price * self.quantity / 12).quantize(Decimal("1e-9"))

    @property
    def tcv(self) -> Decimal:
        """What the segment is worth in all."""
        return money(self.price * self.quantity * (self.end - self.start).days / 365)


@dataclass(slots=True)
class Subscription:
    """One subscription through all its versions."""

    name: str
    account: str
    currency: str
    plan: str
    segments: list[Segment]
    term_start: date
    term_end: date
    charge_number: str
    opportunity: object = None
    status: str = "Active"
    version: int = 0
    is_excluded: bool = False
    record: str = ""
    original: str = ""
    first_charges: dict[int, str] = field(default_factory=dict)
    trueups: list[tuple[date, Decimal]] = field(default_factory=list)
    charges: list[str] = field(default_factory=list)
    cancelled: date | None = None

    def mrr_on(self, day: date) -> Decimal:
        """What it brings a month on that day."""
        return sum((s.mrr for s in self.segments if s.start <= day < s.end), Decimal(0))


def a_year_later(day: date) -> date:
    """The same day of the next year; the last of February is one."""
    try:
        return day.replace(year=day.year + 1)
    except ValueError:
        return day.replace(year=day.year + 1, day=28)


class BillingDesk:
    """Everything that is billed, built day by day as it is asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._clock = world.clock
        self._rng = dice(f"{world.seed}:billing")
        self._ids = dice(f"{world.seed}:billing:ids")
        self._numbers: dict[str, count[int]] = {}
        self._agenda: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = count()
        self._won: set[object] = set()
        self._accounts: dict[object, str] = {}
        self._payment_days: dict[str, int] = {}
        self._by_account: dict[str, list[Subscription]] = {}
        self.subscriptions: list[Subscription] = []
        self.live: dict[str, dict[str, Record]] = {}
        self._days: dict[int, dict[str, dict[str, Record]]] = {}
        self._built = -1
        self.ledger = Ledger(self)

    # What is asked for

    def records(self, day: int) -> dict[str, list[Record]]:
        """Object name → records that came, changed or were deleted (``Deleted``) on that day."""
        self.build(day)
        return {name: list(rows.values()) for name, rows in self._days.get(day, {}).items()}

    def build(self, day: int) -> None:
        """Live on until the end of that day; the world must have done so before."""
        while self._built < day:
            self._built += 1
            if self._built == 0:
                self._begin()
            else:
                self._take_deals(self._built)
            self._run(self._built)
            if self._built > 0:
                self._daily_changes(self._built)

    # The store

    def new_id(self) -> str:
        """Zuora's kind of id."""
        return f"2c92a0{self._ids.getrandbits(104):026x}"

    def number(self, name: str) -> int:
        """The next number of a series."""
        return next(self._numbers.setdefault(name, count(1)))

    def put(self, name: str, at: float, **fields: object) -> Record:
        """A new record of that moment."""
        moment = self._clock.at(at)
        user = f"2c92a0aa{self._rng.randrange(1, 9):024x}"
        record: Record = {
            "Id": fields.pop("Id", None) or self.new_id(),
            **fields,
            "CreatedById": user,
            "CreatedDate": moment,
            "UpdatedById": user,
            "UpdatedDate": moment,
        }
        return self._keep(name, at, record)

    def change(self, name: str, key: str, at: float, **fields: object) -> Record:
        """The record with new values from that moment on."""
        record = self.live[name][key]
        before = record["UpdatedDate"]
        moment = self._clock.at(at)
        stamp = max(moment, before) if isinstance(before, datetime) else moment
        return self._keep(name, at, {**record, **fields, "UpdatedDate": stamp})

    def delete(self, name: str, key: str, at: float) -> None:
        """The record is gone from that moment on."""
        self.change(name, key, at, Deleted=True)
        del self.live[name][key]

    def _keep(self, name: str, at: float, record: Record) -> Record:
        day = 0 if at < 0 else floor(at) + 1
        key = str(record["Id"])
        self.live.setdefault(name, {})[key] = record
        self._days.setdefault(day, {}).setdefault(name, {})[key] = record
        return record

    # The agenda

    def when(self, day: date, action: Callable[[float], None]) -> None:
        """Let something happen in the working hours of that day."""
        start = (day - self._clock.anchor.date()).days
        heapq.heappush(
            self._agenda, (start + self._rng.uniform(0.2, 0.95), next(self._sequence), action)
        )

    def _run(self, day: int) -> None:
        while self._agenda and self._agenda[0][0] < day:
            at, _, action = heapq.heappop(self._agenda)
            action(at)

    def date_at(self, at: float) -> date:
        """The date of a moment."""
        return self._clock.at(at).date()

    # Customers

    def _begin(self) -> None:
        self.ledger.catalog.open(-1_300.0)
        state = self._world.salesforce_state(0)
        accounts = state["Account"]
        deals = [o for o in state["Opportunity"].values() if o["IsWon"] and not o["IsDeleted"]]
        served = {deal["AccountId"] for deal in deals}
        for account in accounts.values():
            if account["Type"] == "Customer" and not account["IsDeleted"]:
                served.add(account["Id"])
                since = self._clock.anchor.date() - timedelta(days=self._rng.randrange(580, 1_100))
                worth = money(Decimal(self._rng.randrange(30, 600)) * 100)
                self.when(since, self._deal_of(account, None, worth, "USD"))
        for deal in sorted(deals, key=lambda o: (str(o["CloseDate"]), str(o["Id"]))):
            self._schedule(deal, accounts[str(deal["AccountId"])], None)

    def _take_deals(self, day: int) -> None:
        state: dict[str, Record] | None = None
        for deal in self._world.salesforce_records(day)["Opportunity"]:
            if deal["IsWon"] and not deal["IsDeleted"] and deal["Id"] not in self._won:
                state = state or self._world.salesforce_state(day)["Account"]
                self._schedule(deal, state[str(deal["AccountId"])], day)

    def _schedule(self, deal: Record, account: Record, day: int | None) -> None:
        self._won.add(deal["Id"])
        amount = deal["ACV__c"] or deal["Amount"]
        if not isinstance(amount, int | float) or amount <= 0:
            return
        worth = money(Decimal(str(amount)))
        action = self._deal_of(account, deal, worth, str(deal["CurrencyIsoCode"]))
        if day is None:
            self.when(date.fromisoformat(str(deal["CloseDate"])), action)
        else:
            self.when(self._clock.anchor.date() + timedelta(days=day - 1), action)

    def _deal_of(
        self, account: Record, deal: Record | None, worth: Decimal, currency: str
    ) -> Callable[[float], None]:
        def happens(at: float) -> None:
            billed = self._accounts.get(account["Id"]) or self._account(at, account, currency)
            running = [s for s in self._by_account[billed] if s.status == "Active"]
            is_more = deal is not None and deal["Type"] in ("Add-On Business", "Renewal", None)
            if running and is_more:
                self._grow(running[0], at, worth)
            else:
                self._subscribe(billed, at, worth, deal)

        return happens

    def _account(self, at: float, account: Record, currency: str) -> str:
        rng = self._rng
        number = self.number("Account")
        organisation = self._world.account_organisations[str(account["Id"])]
        key = self.new_id()
        contacts = [self._contact(key, at, organisation.domain, account) for _ in range(2)]
        term = rng.choices(list(_PAYMENT_TERMS), weights=[70, 15, 15])[0]
        self._payment_days[key] = _PAYMENT_TERMS[term]
        crm = str(account["Id"])
        self.put(
            "Account",
            at,
            Id=key,
            Name=account["Name"],
            AccountNumber=f"A{number:08d}",
            # Some were typed in by hand: the old 15 characters, or nothing.
            CrmId=None if number % 23 == 22 else crm[:15] if number % 11 == 10 else crm,
            ParentId=self._accounts.get(account["ParentId"]),
            Status="Active",
            Currency=currency,
            Batch=f"Batch{1 + number % 3}",
            BillToContactId=contacts[0],
            SoldToContactId=contacts[1],
            CommunicationProfileId=self.ledger.catalog.profile(number),
            AdditionalEmailAddresses=f"billing@{organisation.domain}" if number % 4 == 0 else None,
            AllowInvoiceEdit=False,
            AutoPay=number % 3 == 0,
            Balance=Decimal(0),
            CreditBalance=Decimal(0),
            Mrr=Decimal(0),
            TotalInvoiceBalance=Decimal(0),
            BillCycleDay=1 + number % 28,
            InvoiceDeliveryPrefsEmail=True,
            InvoiceDeliveryPrefsPrint=number % 9 == 0,
            InvoiceTemplateId=self.ledger.template,
            Notes=_ODD_NOTES[number % 8] if number % 8 < len(_ODD_NOTES) else None,
            PaymentTerm=term,
            SalesRepName=" ".join(person(rng)),
            Entity__c=("Inc", "BV", "Ltd")[number % 3],
            ConversionRate__c="1.0" if currency == "USD" else "1.2",
            Parent__c=account["ParentId"],
        )
        self._accounts[account["Id"]] = key
        self._by_account[key] = []
        return key

    def _contact(self, account: str, at: float, domain: str, at_home: Record) -> str:
        given, family = person(self._rng)
        record = self.put(
            "Contact",
            at,
            AccountId=account,
            FirstName=given,
            LastName=family,
            WorkEmail=f"{mailbox(given, family)}@{domain}",
            WorkPhone=at_home["Phone"],
            Country=at_home["BillingCountry"],
            City=None,
            Address1=f"{self._rng.randrange(1, 300)} Main Street",
            PostalCode=f"{self._rng.randrange(10_000, 99_999)}",
            OtherPhoneType="Work",
        )
        return str(record["Id"])

    # Subscriptions

    def _subscribe(self, account: str, at: float, worth: Decimal, deal: Record | None) -> None:
        start = self.date_at(at)
        end = a_year_later(start)
        plan = next(name for least, name in _BIG_DEALS if worth >= least)
        price = PLANS[plan]
        quantity = max(1, round(worth / price))
        number = self.number("Subscription")
        subscription = Subscription(
            name=f"A-S{number:08d}",
            account=account,
            currency=str(self.live["Account"][account]["Currency"]),
            plan=plan,
            segments=[Segment(start, end, quantity, price)],
            term_start=start,
            term_end=end,
            charge_number=f"C-{number:08d}",
            opportunity=deal["Id"] if deal else None,
            is_excluded=number % 29 == 28,
        )
        if number % 31 == 30:
            subscription.status = "Draft"
        self.subscriptions.append(subscription)
        self._by_account[account].append(subscription)
        self._publish(subscription, at)
        if subscription.status == "Draft":
            return
        self._bill(subscription, at, subscription.segments[0].tcv, (start, end))
        self.when(end, lambda then: self._term_ends(subscription, then))

    def _grow(self, subscription: Subscription, at: float, worth: Decimal) -> None:
        """More seats for the rest of the term."""
        day = self.date_at(at)
        last = subscription.segments[-1]
        if not last.start < day < last.end:
            return
        more = max(1, round(worth / last.price))
        subscription.segments.append(Segment(day, last.end, last.quantity + more, last.price))
        last.end = day
        self._amend(subscription, at, "UpdateProduct", "more seats")
        rest = (subscription.term_end - day).days
        amount = money(last.price * more * rest / 365)
        self._bill(subscription, at, amount, (day, subscription.term_end))

    def _term_ends(self, subscription: Subscription, at: float) -> None:
        """A year is over: renewed as it is, with more or fewer seats, or not at all."""
        if subscription.status != "Active":
            return
        fate = self._rng.random()
        day = subscription.term_end
        if fate < 0.15:
            self._cancel(subscription, at, day)
            return
        last = subscription.segments[-1]
        quantity = last.quantity
        if fate < 0.27:
            quantity = max(1, round(quantity * self._rng.uniform(0.4, 0.9)))
        elif fate < 0.47:
            quantity = round(quantity * self._rng.uniform(1.1, 2.2)) + 1
        subscription.term_start, subscription.term_end = day, a_year_later(day)
        if fate > 0.9:
            amount = money(last.price * max(1, last.quantity // 5))
            subscription.trueups.append((day, amount))
            self._bill(subscription, at, amount, (day, day))
        if quantity == last.quantity:
            last.end = subscription.term_end
        else:
            subscription.segments.append(Segment(day, subscription.term_end, quantity, last.price))
        self._amend(subscription, at, "Renewal", "for another year")
        amount = money(last.price * quantity)
        self._bill(subscription, at, amount, (day, subscription.term_end))
        self.when(subscription.term_end, lambda then: self._term_ends(subscription, then))
        if fate > 0.95:  # regrets it before long
            regret = day + timedelta(days=self._rng.randrange(20, 80))
            self.when(regret, lambda then: self._cancel(subscription, then, self.date_at(then)))

    def _cancel(self, subscription: Subscription, at: float, day: date) -> None:
        if subscription.status != "Active":
            return
        subscription.status = "Cancelled"
        subscription.cancelled = day
        rest = [s for s in subscription.segments if s.end > day]
        unused = sum(
            (money(s.price * s.quantity * (s.end - day).days / 365) for s in rest), Decimal(0)
        )
        for segment in rest:
            segment.end = day
        self._amend(subscription, at, "Cancellation", "cancelled by the customer")
        if unused:
            self.ledger.give_back(subscription, at, unused)

    def _amend(self, subscription: Subscription, at: float, kind: str, why: str) -> None:
        number = self.number("Amendment")
        day = self.date_at(at)
        self._publish(subscription, at)
        self.put(
            "Amendment",
            at,
            Name=f"Amendment {number}",
            Code=f"AM-{number:08d}",
            SubscriptionId=self.live["Subscription"][subscription.record]["PreviousSubscriptionId"],
            Type=kind,
            Status="Completed",
            Description=f"{kind}: {why}",
            ContractEffectiveDate=day,
            CustomerAcceptanceDate=day,
            EffectiveDate=day,
            ServiceActivationDate=day,
            TermStartDate=subscription.term_start,
            TermType="TERMED",
            RenewalSetting="RENEW_WITH_SPECIFIC_TERM",
            CurrentTerm=12,
            RenewalTerm=12,
            AutoRenew=True,
        )

    def _publish(self, subscription: Subscription, at: float) -> None:
        """A new version takes the place of the old one, with plans and charges of its own."""
        previous = subscription.record or None
        if previous:
            self.change("Subscription", previous, at, Status="Expired")
        subscription.version += 1
        first = subscription.segments[0].start
        number = int(subscription.name[3:])
        key = self.new_id()
        subscription.original = subscription.original or key
        origin = self.live.get("Subscription", {}).get(subscription.original)
        self.put(
            "Subscription",
            at,
            Id=key,
            Name=subscription.name,
            AccountId=subscription.account,
            InvoiceOwnerId=subscription.account,
            CreatorAccountId=subscription.account,
            CreatorInvoiceOwnerId=subscription.account,
            OriginalId=subscription.original,
            PreviousSubscriptionId=previous,
            Version=subscription.version,
            Status=subscription.status,
            TermType="TERMED",
            CurrentTerm=12,
            CurrentTermPeriodType="Month",
            InitialTerm=12,
            InitialTermPeriodType="Month",
            RenewalTerm=12,
            RenewalTermPeriodType="Month",
            RenewalSetting="RENEW_WITH_SPECIFIC_TERM",
            AutoRenew=True,
            IsInvoiceSeparate=False,
            TermStartDate=subscription.term_start,
            TermEndDate=subscription.term_end,
            SubscriptionStartDate=first,
            SubscriptionEndDate=subscription.cancelled or subscription.term_end,
            CancelledDate=subscription.cancelled,
            ContractEffectiveDate=first,
            ContractAcceptanceDate=first,
            ServiceActivationDate=first,
            OriginalCreatedDate=origin["CreatedDate"] if origin else self._clock.at(at),
            ExcludeFromAnalysis__c=subscription.is_excluded,
            Exclude_from_Renewal_Report__c__c="Yes" if number % 17 == 16 else None,
            OpportunityId__c=subscription.opportunity,
            Notes=None,
        )
        subscription.record = key
        self.ledger.charge(subscription, at)
        monthly = sum(
            (s.mrr_on(self.date_at(at)) for s in self._by_account[subscription.account]),
            Decimal(0),
        )
        self.change("Account", subscription.account, at, Mrr=money(monthly))

    def _bill(
        self, subscription: Subscription, at: float, amount: Decimal, span: tuple[date, date]
    ) -> None:
        if amount > 0:
            self.ledger.invoice(
                subscription, at, amount, span, self._payment_days[subscription.account]
            )

    # Days after the beginning

    def _daily_changes(self, day: int) -> None:
        """Small things happen every day, in a company of any size."""
        rng = self._rng

        def moment() -> float:
            return day - 1 + rng.uniform(0.2, 0.95)

        def any_of(name: str) -> str:
            return rng.choice(list(self.live[name]))

        self.change("Account", any_of("Account"), moment(), Notes=f"Called on day {day}")
        self.change("Contact", any_of("Contact"), moment(), City="Utrecht")
        in_use = {
            a[f"{kind}ToContactId"]
            for a in self.live["Account"].values()
            for kind in ("Bill", "Sold")
        }
        spare = [key for key in self.live["Contact"] if key not in in_use]
        if spare and day % 2 == 0:
            self.delete("Contact", rng.choice(spare), moment())
        account = self.live["Account"][any_of("Account")]
        given, family = person(rng)
        self.put(
            "Contact",
            moment(),
            AccountId=account["Id"],
            FirstName=given,
            LastName=family,
            WorkEmail=f"{mailbox(given, family)}@example.org",
            OtherPhoneType="Work",
        )
        self.ledger.daily(day, moment)
