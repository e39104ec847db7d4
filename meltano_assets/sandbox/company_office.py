"""What Salesforce holds around the company's sales: roles, stages, prices, activities, history.

All of it follows from the records of the world, day by day, and changes nothing of them: chance is
drawn anew for each record. What hangs on a deal changes and vanishes with it.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from meltano_assets.sandbox.company_products import list_price, price_of
from meltano_assets.sandbox.company_sales import (
    KEY_PREFIXES,
    RECORD_TYPES,
    ROLES,
    STAGES,
    Record,
    salesforce_id,
)
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World

OFFICE_OBJECTS = (
    "UserRole",
    "RecordType",
    "OpportunityStage",
    "Pricebook2",
    "PricebookEntry",
    "OpportunityContactRole",
    "Task",
    "Event",
    "AccountHistory",
)
_FORM = "%Y-%m-%dT%H:%M:%S.000%z"
_CONTACT_ROLES = ("Business User", "Evaluator", "Executive Sponsor")
_CALLS = ("Call", "Send the quote", "Follow up", 'Ask about "on-premises", budget')
_MEETINGS = ("Demo", "Kick-off", "Quarterly review")
_TRACKED = {"Name": "Name", "Type": "Type", "Industry": "Industry", "OwnerId": "Owner"}
#: So long after its day an activity is archived.
_ARCHIVED_AFTER = timedelta(days=365)
_FOUNDED = -900.0


class Office:
    """Records by day, built in order as they are asked for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._days: list[dict[str, dict[str, Record]]] = []
        self._accounts: dict[str, Record] = {}
        self._contacts: dict[str, list[str]] = {}
        self._of_deal: dict[str, list[tuple[str, Record]]] = {}

    def records(self, day: int) -> dict[str, list[Record]]:
        """Object name → full records that came or changed on that day."""
        while len(self._days) <= day:
            self._days.append({name: {} for name in OFFICE_OBJECTS})
            self._live(len(self._days) - 1)
        return {name: list(records.values()) for name, records in self._days[day].items()}

    def _put(self, name: str, record: Record) -> Record:
        self._days[-1][name][str(record["Id"])] = record
        return record

    def _live(self, day: int) -> None:
        if day == 0:
            self._settle_in()
        today = self._world.salesforce_records(day)
        for product in today["Product2"]:
            self._price(product)
        for account in today["Account"]:
            self._note_account(account)
        for contact in today["Contact"]:
            people = self._contacts.setdefault(str(contact["AccountId"]), [])
            if contact["Id"] not in people:
                people.append(str(contact["Id"]))
        for deal in today["Opportunity"]:
            if str(deal["Id"]) in self._of_deal:
                self._deal_changes(deal)
            else:
                self._deal_begins(deal)
        if day == 0:
            for campaign in today["Campaign"][::4]:
                self._task(campaign, what=campaign["Id"], subject="Order the stand")
        for lead in today["Lead"]:
            is_new = day == 0 or lead["CreatedDate"] == lead["SystemModstamp"]
            if is_new and self._dice("lead", lead).random() < 0.3:
                self._task(lead, who=lead["Id"])

    def _dice(self, what: str, record: Record) -> random.Random:
        return dice(f"{self._world.seed}:{what}:{record['Id']}")

    # What was there before everything else

    def _settle_in(self) -> None:
        sales = self._world.sales
        founded = sales.audit(_FOUNDED, _FOUNDED)
        undeletable = {name: value for name, value in founded.items() if name != "IsDeleted"}
        for name, number in ROLES.items():
            top = None if number == 1 else 1 if number == 2 else 2
            self._put(
                "UserRole",
                {
                    "Id": sales.new_id("UserRole"),
                    "Name": name,
                    "ParentRoleId": top and salesforce_id(KEY_PREFIXES["UserRole"], top),
                    "DeveloperName": name.replace(" ", ""),
                    "RollupDescription": name,
                    "OpportunityAccessForAccountOwner": "Edit",
                    "CaseAccessForAccountOwner": "Read",
                    "ContactAccessForAccountOwner": "Edit",
                    "PortalType": "None",
                    "LastModifiedDate": founded["LastModifiedDate"],
                    "SystemModstamp": founded["SystemModstamp"],
                },
            )
        for name in RECORD_TYPES:
            self._put(
                "RecordType",
                {
                    "Id": sales.new_id("RecordType"),
                    "Name": name,
                    "DeveloperName": name.replace(" ", "_"),
                    "SobjectType": "Account" if name.endswith("Account") else "Opportunity",
                    "IsActive": True,
                    **undeletable,
                },
            )
        for place, (name, probability) in enumerate(STAGES.items(), 1):
            is_won = name == "Closed Won"
            is_closed = is_won or name[:2] in ("8-", "9-", "10")
            self._put(
                "OpportunityStage",
                {
                    "Id": sales.new_id("OpportunityStage"),
                    "MasterLabel": name,
                    "ApiName": name,
                    "IsActive": True,
                    "SortOrder": place,
                    "IsClosed": is_closed,
                    "IsWon": is_won,
                    "ForecastCategory": "Closed"
                    if is_won
                    else "Omitted"
                    if is_closed
                    else "Pipeline",
                    "ForecastCategoryName": "Closed" if is_won else "Pipeline",
                    "DefaultProbability": probability,
                    **undeletable,
                },
            )
        book: Record = {
            "Id": sales.new_id("Pricebook2"),
            "Name": "Standard Price Book",
            "IsActive": True,
            "IsStandard": True,
            **founded,
        }
        self._put("Pricebook2", book)

    def _price(self, product: Record) -> None:
        times = ("CreatedDate", "LastModifiedDate", "SystemModstamp", "IsDeleted")
        self._put(
            "PricebookEntry",
            {
                "Id": price_of(product),
                "Name": product["Name"],
                "Pricebook2Id": salesforce_id(KEY_PREFIXES["Pricebook2"], 1),
                "Product2Id": product["Id"],
                "ProductCode": product["ProductCode"],
                "UnitPrice": list_price(product),
                "IsActive": product["IsActive"],
                **{name: product[name] for name in times},
            },
        )

    # History

    def _note_account(self, account: Record) -> None:
        before = self._accounts.get(str(account["Id"]))
        self._accounts[str(account["Id"])] = account
        if before is None:
            self._note(account, account["CreatedDate"], "created", None, None)
            if account["CreatedDate"] != account["LastModifiedDate"] and account["Industry"]:
                at = account["LastModifiedDate"]
                self._note(account, at, "Industry", None, account["Industry"])
            return
        for name, label in _TRACKED.items():
            if before[name] != account[name]:
                at = account["SystemModstamp"]
                self._note(account, at, label, before[name], account[name])

    def _note(self, account: Record, at: object, field: str, old: object, new: object) -> None:
        record: Record = {
            "Id": self._world.sales.new_id("AccountHistory"),
            "AccountId": account["Id"],
            "Field": field,
            "OldValue": old,
            "NewValue": new,
            "CreatedById": account["OwnerId"],
            "CreatedDate": at,
            "IsDeleted": False,
        }
        self._put("AccountHistory", record)

    # Deals, and what hangs on them

    def _deal_begins(self, deal: Record) -> None:
        rng = self._dice("deal", deal)
        people = self._contacts.get(str(deal["AccountId"]), [])
        chosen = rng.sample(people, min(len(people), rng.choice([0, 1, 1, 2])))
        mine = self._of_deal[str(deal["Id"])] = []
        for number, contact in enumerate(chosen):
            record: Record = {
                "Id": self._world.sales.new_id("OpportunityContactRole"),
                "OpportunityId": deal["Id"],
                "ContactId": contact,
                "Role": "Decision Maker" if deal["IsWon"] else rng.choice(_CONTACT_ROLES),
                "IsPrimary": number == 0,
                **_times(deal),
            }
            mine.append(("OpportunityContactRole", self._put("OpportunityContactRole", record)))
        who = chosen[0] if chosen else None
        about, account = deal["Id"], deal["AccountId"]
        if rng.random() < 0.7:
            mine.append(("Task", self._task(deal, who=who, what=about, account=account)))
        if rng.random() < 0.3:
            mine.append(("Event", self._event(deal, who=who, what=about, account=account)))

    def _deal_changes(self, deal: Record) -> None:
        changed = []
        for name, record in self._of_deal[str(deal["Id"])]:
            fields: Record = {}
            if deal["IsDeleted"] and not record["IsDeleted"]:
                fields = {"IsDeleted": True}
            elif name == "Task" and record["Status"] != "Completed":
                at = deal["SystemModstamp"]
                fields = {"Status": "Completed", "IsClosed": True, "CompletedDateTime": at}
            elif name == "OpportunityContactRole" and deal["IsWon"]:
                is_new = record["Role"] != "Decision Maker"
                fields = {"Role": "Decision Maker"} if is_new else {}
            if fields:
                stamp = deal["SystemModstamp"]
                times = {"LastModifiedDate": stamp, "SystemModstamp": stamp}
                record = self._put(name, {**record, **fields, **times})  # noqa: PLW2901
            changed.append((name, record))
        self._of_deal[str(deal["Id"])] = changed

    # Activities

    def _task(
        self,
        about: Record,
        *,
        who: object = None,
        what: object = None,
        account: object = None,
        subject: str = "",
    ) -> Record:
        rng = self._dice("task", about)
        times = _times(about)
        is_done = rng.random() < 0.5
        kind = rng.choice(["Task", "Call", "Email"])
        day = _moment(times["SystemModstamp"])
        record: Record = {
            "Id": self._world.sales.new_id("Task"),
            "WhoId": who,
            "WhatId": what,
            "AccountId": account,
            "OwnerId": about["OwnerId"],
            "Subject": subject or rng.choice(_CALLS),
            "ActivityDate": day.date().isoformat(),
            "Status": "Completed" if is_done else "Not Started",
            "Priority": rng.choice(["High", "Normal", "Normal"]),
            "TaskSubtype": kind,
            "CallDurationInSeconds": rng.randrange(20, 3000)
            if kind == "Call" and is_done
            else None,
            "CompletedDateTime": times["SystemModstamp"] if is_done else None,
            "IsClosed": is_done,
            "IsArchived": is_done and self._is_old(day),
            **times,
        }
        return self._put("Task", record)

    def _event(self, about: Record, *, who: object, what: object, account: object) -> Record:
        rng = self._dice("event", about)
        times = _times(about)
        begin = _moment(times["SystemModstamp"]).replace(minute=0, second=0)
        minutes = rng.choice([30, 60, 90])
        end = begin + timedelta(minutes=minutes)
        record: Record = {
            "Id": self._world.sales.new_id("Event"),
            "WhoId": who,
            "WhatId": what,
            "AccountId": account,
            "OwnerId": about["OwnerId"],
            "Subject": rng.choice(_MEETINGS),
            "Location": rng.choice(["Zoom", "Rotterdam, «Kantoor»", None]),
            "ActivityDate": begin.date().isoformat(),
            "IsAllDayEvent": False,
            "StartDateTime": begin.strftime(_FORM),
            "EndDateTime": end.strftime(_FORM),
            "DurationInMinutes": minutes,
            "ShowAs": "Busy",
            "IsArchived": self._is_old(begin),
            **times,
        }
        return self._put("Event", record)

    def _is_old(self, day: datetime) -> bool:
        return day < self._world.clock.anchor - _ARCHIVED_AFTER


def _times(record: Record) -> Record:
    names = ("CreatedDate", "LastModifiedDate", "SystemModstamp", "IsDeleted")
    return {name: record[name] for name in names}


def _moment(stamp: object) -> datetime:
    return datetime.strptime(str(stamp), _FORM)  # noqa: DTZ007 the form has a zone
