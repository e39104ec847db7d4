"""What customers cost and are worth, counted from the company's own records.

Money stays in the currency and on the day in which it was agreed; who converts it needs rates, and
rates are not the company's to know.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from meltano_assets.sandbox.company_billing import BillingDesk, Subscription
from meltano_assets.sandbox.company_books import CHART, Ref
from meltano_assets.sandbox.company_sales import Record, is_sales_accepted, source_group

State = dict[str, dict[str, Record]]
#: Accounts on which a journal's debit is a cost.
_COSTS = {name for name, kind, _ in CHART.values() if kind in ("_expense", "_costOfGoodsSold")}


def acquisition_truths(state: State, desk: BillingDesk) -> dict[str, object]:
    """By month (``2026-01``): spend, leads, won customers; how SAOs were won; who was lost.

    ``campaigns``: what each cost, the leads and SAOs that it brought, and what one of them cost.
    """
    return {
        "spend_by_month": _spend(state["Campaign"]),
        "leads_by_month": dict(
            Counter(
                _moment(lead["CreatedDate"]).strftime("%Y-%m")
                for lead in state["Lead"].values()
                if not lead["IsDeleted"]
            )
        ),
        "campaigns": _campaigns(state),
        "first_wins": _first_wins(state["Opportunity"]),
        "accepted": _accepted(state["Opportunity"]),
        "opportunities_as_of": _latest(state["Opportunity"]).isoformat(),
        "customers_lost": _lost_by_billing(desk),
        "renewals_lost": _lost_by_sales(state["Opportunity"]),
    }


def _spend(campaigns: dict[str, Record]) -> dict[str, float]:
    """Each cost, a like part for each of the campaign's days that have been."""
    today = _latest(campaigns)
    spent: dict[str, float] = defaultdict(float)
    for campaign in campaigns.values():
        if campaign["IsDeleted"] or campaign["ActualCost"] is None:
            continue
        first = date.fromisoformat(str(campaign["StartDate"]))
        last = first
        if campaign["EndDate"] is not None:
            last = max(first, min(today, date.fromisoformat(str(campaign["EndDate"]))))
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        for day in days:
            spent[f"{day:%Y-%m}"] += float(str(campaign["ActualCost"])) / len(days)
    return {month: round(value, 2) for month, value in sorted(spent.items())}


def _campaigns(state: State) -> dict[str, dict[str, float | int | None]]:
    """Campaign (``none``: nobody's) → spend, leads and SAOs of single touch, and the cost of each.

    A lead is its first response's, else its first membership's. An SAO is its primary campaign's,
    else that of the first response by then of the lead it was or of a contact at its account.
    """
    members = [m for m in state["CampaignMember"].values() if not m["IsDeleted"]]
    responses = [m for m in members if m["HasResponded"]]
    leads = {key: lead for key, lead in state["Lead"].items() if not lead["IsDeleted"]}
    converted = {key: lead["ConvertedOpportunityId"] for key, lead in leads.items()}
    employers = {
        key: person["AccountId"]
        for key, person in state["Contact"].items()
        if not person["IsDeleted"]
    }
    first: dict[str, Record] = {}
    for member in sorted(members, key=_order_of_touch, reverse=True):
        first[str(member["LeadId"])] = member
    brought = Counter(str(first[key]["CampaignId"]) if key in first else "none" for key in leads)
    accepted: Counter[str] = Counter()
    for deal in filter(is_sales_accepted, state["Opportunity"].values()):
        touches = [
            (_touched(member), str(member["CampaignId"]))
            for member in responses
            if _touched(member) <= str(deal["Sales_Accepted_Date__c"])
            and (
                converted.get(str(member["LeadId"])) == deal["Id"]
                or (
                    deal["AccountId"] is not None
                    and employers.get(str(member["ContactId"])) == deal["AccountId"]
                )
            )
        ]
        sole = deal["CampaignId"] or (min(touches)[1] if touches else "none")
        accepted[str(sole)] += 1
    costs = {
        key: float(str(campaign["ActualCost"]))
        for key, campaign in state["Campaign"].items()
        if not campaign["IsDeleted"] and campaign["ActualCost"] is not None
    }
    return {
        key: {
            "spend": (spend := costs.get(key, 0.0)),
            "leads": brought[key],
            "accepted": accepted[key],
            "cost_per_lead": spend / brought[key] if spend and brought[key] else None,
            "cost_per_accepted": spend / accepted[key] if spend and accepted[key] else None,
        }
        for key in sorted({*costs, *brought, *accepted})
    }


def _touched(member: Record) -> str:
    """The day of the response, else of the membership."""
    return str(member["FirstRespondedDate"] or str(member["CreatedDate"])[:10])


def _order_of_touch(member: Record) -> tuple[object, ...]:
    made = str(member["CreatedDate"])
    return not member["HasResponded"], _touched(member), made, str(member["Id"])


def _worth(deal: Record) -> dict[str, object]:
    return {
        "currency": deal["CurrencyIsoCode"],
        "day": deal["CloseDate"],
        "iacv": deal["Incremental_ACV__c"],
    }


def _first_wins(deals: dict[str, Record]) -> list[dict[str, object]]:
    """The deal that made a customer of each account."""
    first: dict[object, Record] = {}
    for deal in sorted(deals.values(), key=lambda d: (str(d["CloseDate"]), str(d["Id"]))):
        if deal["IsWon"] and not deal["IsDeleted"] and deal["AccountId"] is not None:
            first.setdefault(deal["AccountId"], deal)
    return [_worth(deal) for deal in first.values()]


def _accepted(deals: dict[str, Record]) -> list[dict[str, object]]:
    """Every SAO: when, of which group and, if it was won, after how many days and for how much."""
    found: list[dict[str, object]] = []
    for deal in filter(is_sales_accepted, deals.values()):
        accepted = date.fromisoformat(str(deal["Sales_Accepted_Date__c"]))
        one: dict[str, object] = {"accepted": accepted.isoformat(), "group": source_group(deal)}
        if deal["IsWon"]:
            taken = (date.fromisoformat(str(deal["CloseDate"])) - accepted).days
            one |= {"days_to_won": max(taken, 0), **_worth(deal)}
        found.append(one)
    return found


def _lost_by_sales(deals: dict[str, Record]) -> dict[str, list[int]]:
    """Month → renewals closed in it, and how many of them were lost."""
    months: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for deal in deals.values():
        if deal["Type"] == "Renewal" and deal["IsClosed"] and not deal["IsDeleted"]:
            month = months[str(deal["CloseDate"])[:7]]
            month[0] += 1
            month[1] += not deal["IsWon"]
    return dict(months)


def _lost_by_billing(desk: BillingDesk) -> dict[str, list[int]]:
    """Month → customers that paid at the end of the month a year before, and how many pay nothing
    at its end (or today, in the month that is not over).

    Subscriptions of billing accounts that lead to one account in Salesforce are one customer's.
    What was used beyond the contract counts for the year in which it was billed.
    """
    billing = desk.live["Account"]
    customers: dict[str, list[Subscription]] = defaultdict(list)
    for subscription in desk.subscriptions:
        if subscription.status != "Draft" and not subscription.is_excluded:
            crm = billing[subscription.account]["CrmId"]
            # Typed in by hand, it may be short of the last three characters.
            customers[str(crm)[:15] if crm else subscription.account].append(subscription)
    today = _latest_update(desk)
    earliest = min(s.segments[0].start for mine in customers.values() for s in mine)
    lost: dict[str, list[int]] = {}
    month = earliest.replace(day=1)
    while month <= today:
        following = (month + timedelta(days=32)).replace(day=1)
        end = min(following - timedelta(days=1), today)
        # The whole month a year before: its last day, also where this one's has not come.
        before = following.replace(year=following.year - 1) - timedelta(days=1)
        had = [mine for mine in customers.values() if any(s.mrr_on(before) for s in mine)]
        gone = [mine for mine in had if not any(s.mrr_on(end) for s in mine)]
        if had:
            lost[f"{month:%Y-%m}"] = [len(had), len(gone)]
        month = following
    return lost


def _latest(records: dict[str, Record]) -> date:
    """The day of the latest change: nothing is known of later ones."""
    return max(_moment(record["SystemModstamp"]) for record in records.values()).date()


def _latest_update(desk: BillingDesk) -> date:
    moments = (record["UpdatedDate"] for record in desk.live["Subscription"].values())
    return max(m for m in moments if isinstance(m, datetime)).astimezone(UTC).date()


def _moment(value: object) -> datetime:
    return datetime.fromisoformat(str(value).replace("+0000", "+00:00")).astimezone(UTC)


def department_costs(books: State) -> dict[str, dict[str, float]]:
    """Department → month → what it cost: bills, expense reports and the payroll's journals."""
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))

    def add(transaction: Record, line: Record, amount: object) -> None:
        department, month = _name(line.get("department")), str(transaction["tranDate"])[:7]
        sums[department][month] += Decimal(str(amount))

    for kind in ("VendorBill", "ExpenseReport"):
        for transaction in books.get(kind, {}).values():
            for line in _lines(transaction, "expenseList"):
                add(transaction, line, line["amount"])
    for transaction in books.get("JournalEntry", {}).values():
        for line in _lines(transaction, "lineList"):
            if _name(line["account"]) in _COSTS:
                add(transaction, line, line.get("debit") or 0)
    return {
        department: {month: float(cost) for month, cost in sorted(months.items())}
        for department, months in sorted(sums.items())
    }


def _lines(transaction: Record, name: str) -> list[Record]:
    lines = transaction[name]
    assert isinstance(lines, list)
    return lines


def _name(value: object) -> str:
    return value.name if isinstance(value, Ref) else ""
