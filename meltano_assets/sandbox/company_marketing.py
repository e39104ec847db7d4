"""The marketing side of the company: Marketo's leads, programs and activities.

Derived from the sales side, day by day: every lead and contact of Salesforce is a lead of Marketo
(who was converted is one person), every campaign a program whose period costs sum up to the campaign's
cost in whole units, every campaign member a program member. Besides there are subscribers whom sales
do not know. Who is deleted in Salesforce is deleted here; a few people are merged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import JOB_TITLES, dice, mailbox, person
from meltano_assets.sandbox.company_world import scaled

if TYPE_CHECKING:
    from meltano_assets.sandbox.company import Company

#: Activity type → what it is called, and whether it carries an asset.
NEW_LEAD, SYNC_TO_SFDC, CHANGE_VALUE, CHANGE_SCORE = 12, 19, 13, 22
VISIT_PAGE, FILL_FORM, SEND_EMAIL, EMAIL_DELIVERED, OPEN_EMAIL, CLICK_EMAIL = 1, 2, 6, 7, 10, 11
EMAIL_BOUNCED, UNSUBSCRIBE, ADD_TO_LIST = 8, 9, 24
MERGE_LEADS, DELETE_LEAD, CHANGE_PROGRESSION = 32, 37, 104

#: Campaign type of Salesforce → channel and type of the program.
CHANNELS = {
    "Advertisement": ("Online Advertising", "Default"),
    "Webcast": ("Webinar", "Event with Webinar"),
    "Trade Show": ("Tradeshow", "Event"),
    "Conference": ("Tradeshow", "Event"),
    "Email": ("Email Send", "Email"),
    "White Paper": ("Content", "Default"),
}
PROGRESSION = {"Sent": "Member", "Registered": "Registered", "Responded": "Responded"}
FIRST_LEAD, FIRST_PROGRAM, FIRST_CAMPAIGN, FIRST_LIST = 1_000_001, 1_001, 2_001, 3_001
SCORING_CAMPAIGN = 2_000
#: The e-mail of a program has this number and the program's.
FIRST_MAILING = 10_000
#: The day of the subscription's first records; who was known before was taken over then.
BEGAN = -400
#: How long after Salesforce Marketo takes over a change, in days.
_SYNC_DELAY = 120 / 86_400


class MarketingDesk:
    """Marketo's records by day. Days are built one after another, when they are first asked for."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self._clock = company.clock
        self.leads: dict[int, Record] = {}
        self.programs: dict[int, Record] = {}
        self.members: dict[tuple[int, int], Record] = {}
        self.campaigns: dict[int, Record] = {}
        self.lists: dict[int, Record] = {}
        self.list_members: dict[int, dict[int, str]] = {}
        #: Every activity in the order of its day; deletes and merges are among them.
        self.activities: list[Record] = []
        self.gone: dict[int, str] = {}
        self._accounts: dict[str, Record] = {}
        self._by_salesforce_id: dict[str, int] = {}
        self._salesforce_ids: dict[int, list[str]] = {}
        #: Campaign of Salesforce → number of its program.
        self.program_of: dict[str, int] = {}
        self._programs_of: dict[int, set[int]] = {}
        self._next_activity = 1
        self._built = -1

    def build(self, day: int) -> None:
        """Live on until the end of that day."""
        while self._built < day:
            self._built += 1
            self._build_day(self._built)

    def _build_day(self, day: int) -> None:
        records = self._company.salesforce_records(day)
        today: list[Record] = []
        self._accounts.update({str(account["Id"]): account for account in records["Account"]})
        for campaign in records["Campaign"]:
            self._take_campaign(campaign, day)
        for kind in ("Lead", "Contact"):
            for record in records[kind]:
                today += self._take_person(kind, record, day)
        today += self._subscribers(day)
        for member in records["CampaignMember"]:
            today += self._take_member(member)
        if day == 0:
            today += self._merge_converted(records["Lead"])
        today += self._merge_twins(day)
        today.sort(
            key=lambda activity: (str(activity["activityDate"]), int(str(activity["leadId"])))
        )
        for activity in today:
            number = self._next_activity
            self._next_activity += 1
            activity["id"] = number
            name = f"{self._company.seed}:{number}".encode()
            activity["marketoGUID"] = hashlib.md5(name, usedforsecurity=False).hexdigest()
        self.activities += today

    def changes(self, since: datetime, until: datetime) -> dict[str, int]:
        """Kind of record → how many came or changed after ``since``, until ``until``."""
        first, last = (f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in (since, until))

        def count(records: Iterable[Record], name: str = "updatedAt") -> int:
            return sum(first < str(record[name]) <= last for record in records)

        counts = {
            "leads": count(self.leads.values()),
            "activities": count(self.activities, "activityDate"),
            "program_members": count(self.members.values()),
            "programs": count(self.programs.values()),
            "campaigns": count(self.campaigns.values()),
            "lists": count(self.lists.values()),
            "deleted_leads": sum(first < at <= last for at in self.gone.values()),
        }
        return {name: number for name, number in counts.items() if number}

    # Times: Marketo writes whole seconds in UTC.

    def _at(self, days: float) -> str:
        return self._clock.at(days).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _from_salesforce(self, stamp: object, later: float = 0.0) -> str:
        """When Marketo took over what Salesforce did at that time; not before it was there."""
        moment = datetime.fromisoformat(str(stamp).replace("+0000", "+00:00"))
        taken = (moment + timedelta(days=later)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return max(taken, self._at(BEGAN))

    # People

    def _take_person(self, kind: str, record: Record, day: int) -> Iterator[Record]:
        key = str(record["Id"])
        synced = self._from_salesforce(record["SystemModstamp"], _SYNC_DELAY)
        number = self._by_salesforce_id.get(key)
        if number is None:
            number = self._new_number()
            self._know_as(key, number)
            created = self._from_salesforce(record["CreatedDate"], _SYNC_DELAY)
            lead = self._lead(number, created, synced)
            self.leads[number] = lead
            self._fill(lead, kind, record)
            yield from self._first_activities(lead)
        elif number in self.leads:
            lead = {**self.leads[number], "updatedAt": max(synced, str(self._updated(number)))}
            before = lead.get("leadStatus")
            self._fill(lead, kind, record)
            self.leads[number] = lead
            if lead.get("leadStatus") != before:
                yield self._activity(
                    number, CHANGE_VALUE, synced, None, "Lead Status",
                    {"New Value": lead.get("leadStatus"), "Old Value": before,
                     "Reason": "Sync from salesforce.com", "Source": "SFDC"},
                )  # fmt: skip
        if record["IsDeleted"] and number in self.leads:
            yield self._delete(number, synced, day)

    def _know_as(self, key: str, number: int) -> None:
        self._by_salesforce_id[key] = number
        self._salesforce_ids.setdefault(number, []).append(key)

    def _join(self, program: int, lead: int, member: Record) -> None:
        self.members[program, lead] = member
        self._programs_of.setdefault(lead, set()).add(program)

    def _new_number(self) -> int:
        return FIRST_LEAD + len(self.leads) + len(self.gone)

    def _updated(self, number: int) -> object:
        return self.leads[number]["updatedAt"]

    def _lead(self, number: int, created: str, updated: str) -> Record:
        rng = dice(f"{self._company.seed}:marketing:lead:{number}")
        lead: Record = {
            "id": number,
            "createdAt": created,
            "updatedAt": max(created, updated),
            "personType": "contact",
            "isLead": True,
            "isAnonymous": False,
            "mktoIsPartner": False,
            "mktoIsCustomer": False,
            "emailInvalid": rng.random() < 0.03,
            "unsubscribed": rng.random() < 0.06,
            "doNotCall": False,
            "marketingSuspended": False,
            "blackListed": False,
            "emailSuspended": False,
            "leadScore": rng.randrange(0, 120),
            "leadPartitionId": 1,
            "originalSourceType": rng.choice(["Web form fillout", "salesforce.com", "List import"]),
            "originalReferrer": rng.choice(
                [None, "https://www.google.com/", "https://news.example/"]
            ),
            "inferredCountry": rng.choice([None, "United States", "Germany", "Japan"]),
            "Company_Size__c": rng.choice([None, 10, 50, 250, 1000]),
            "Seat_Budget__c": rng.choice([None, 99.5, 1200.25, 48000.0]),
            "GDPR_Consent__c": rng.random() < 0.5,
            "Comments__c": rng.choice(
                [None, None, 'Said "call me",\nthen hung up', "Größe: 50 – 100 🚀"]
            ),
        }
        if lead["emailInvalid"]:
            lead["emailInvalidCause"] = "550 5.1.1 mailbox unknown"
        return lead

    def _fill(self, lead: Record, kind: str, record: Record) -> None:
        """What Salesforce knows better."""
        name = f"{record['FirstName'] or ''} {record['LastName']}".strip()
        lead.update(
            {
                "firstName": record["FirstName"],
                "lastName": record["LastName"],
                "email": record["Email"],
                "title": record["Title"],
                "leadSource": record["LeadSource"],
                "sfdcType": kind,
                "sfdcId": record["Id"],
                "sfdcLeadOwnerId": record["OwnerId"],
                "mktoName": name,
            }
        )
        if kind == "Lead":
            lead.update(
                {
                    "sfdcLeadId": record["Id"],
                    "company": record["Company"],
                    "industry": record["Industry"],
                    "website": record["Website"],
                    "leadStatus": record["Status"],
                    "MQL_Date__c": record["MQL_Date__c"],
                }
            )
        else:
            account = self._accounts.get(str(record["AccountId"]), {})
            lead.update(
                {
                    "sfdcContactId": record["Id"],
                    "sfdcAccountId": record["AccountId"],
                    "company": account.get("Name"),
                    "industry": account.get("Industry"),
                    "website": account.get("Website"),
                    "numberOfEmployees": account.get("NumberOfEmployees"),
                    "mktoIsCustomer": account.get("Type") == "Customer",
                }
            )

    def _subscribers(self, day: int) -> Iterator[Record]:
        """People who gave an address for the newsletter; sales have never heard of them."""
        rng = dice(f"{self._company.seed}:marketing:subscribers:{day}")
        if day == 0:
            newsletter = self._list(FIRST_LIST, "Newsletter", None, self._at(BEGAN))
            self.list_members[int(str(newsletter["id"]))] = {}
        for _ in range(scaled(300 if day == 0 else 4, self._company.scale)):
            given, family = person(rng)
            since = rng.uniform(BEGAN, -1) if day == 0 else day - 1 + rng.uniform(0.2, 0.9)
            number = self._new_number()
            created = self._at(since)
            lead = self._lead(number, created, created)
            lead.update(
                {
                    "firstName": given,
                    "lastName": family,
                    "email": f"{mailbox(given, family)}.{number}@subscribers.example",
                    "title": rng.choice([None, *JOB_TITLES]),
                    "leadSource": "Newsletter",
                    "leadStatus": "Raw",
                    "originalSourceType": "Web form fillout",
                }
            )
            self.leads[number] = lead
            self.list_members[FIRST_LIST][number] = created
            yield from self._first_activities(lead)
            yield self._activity(
                number, ADD_TO_LIST, created, FIRST_LIST, "Newsletter", {"Source": "Web form"}
            )

    def _delete(self, number: int, at: str, day: int) -> Record:
        lead = self.leads.pop(number)
        self.gone[number] = at
        for program in self._programs_of.pop(number, ()):
            self.members.pop((program, number), None)
        for members in self.list_members.values():
            members.pop(number, None)
        name = lead.get("mktoName") or lead.get("email")
        return self._activity(number, DELETE_LEAD, at, number, str(name), {"Remove from CRM": True})

    def _merge(self, winner: int, loser: int, at: str) -> Record:
        lost = self.leads.pop(loser)
        self.gone[loser] = at
        kept = self.leads[winner]
        self.leads[winner] = {
            **{name: value for name, value in lost.items() if value is not None},
            **{name: value for name, value in kept.items() if value is not None},
            "createdAt": min(str(kept["createdAt"]), str(lost["createdAt"])),
            "updatedAt": max(at, str(kept["updatedAt"])),
        }
        for key in self._salesforce_ids.pop(loser, []):
            self._know_as(key, winner)
        for program in sorted(self._programs_of.pop(loser, set())):
            member = self.members.pop((program, loser), None)
            if member is not None and (program, winner) not in self.members:
                moved = {**member, "leadId": winner, "updatedAt": max(at, str(member["updatedAt"]))}
                self._join(program, winner, moved)
        for members in self.list_members.values():
            if (since := members.pop(loser, None)) is not None:
                members.setdefault(winner, since)
        return self._activity(
            winner, MERGE_LEADS, at, winner, str(kept.get("mktoName") or kept.get("email")),
            {"Merge IDs": f"[{loser}]", "Master Updated": True, "Merged in Sales": True,
             "Merge Source": "SFDC"},
        )  # fmt: skip

    def _merge_converted(self, leads: list[Record]) -> Iterator[Record]:
        """Who was converted is one person with the contact that came of it."""
        for record in leads:
            contact = record["ConvertedContactId"]
            winner = self._by_salesforce_id.get(str(contact)) if contact else None
            loser = self._by_salesforce_id[str(record["Id"])]
            if winner in self.leads and loser in self.leads and winner != loser:
                at = max(
                    f"{record['ConvertedDate']}T12:00:00Z",
                    str(self.leads[winner]["createdAt"]),
                    str(self.leads[loser]["createdAt"]),
                )
                yield self._merge(winner, loser, min(at, self._at(-0.2)))

    def _merge_twins(self, day: int) -> Iterator[Record]:
        """Now and then two subscribers turn out to be one."""
        if day == 0:
            return
        rng = dice(f"{self._company.seed}:marketing:twins:{day}")
        midnight = self._at(day - 1)
        pool = [
            number
            for number in sorted(self.list_members[FIRST_LIST])
            if number in self.leads
            and "sfdcId" not in self.leads[number]
            and str(self.leads[number]["createdAt"]) < midnight
        ]
        if len(pool) >= 2:
            winner, loser = rng.sample(pool, 2)
            yield self._merge(winner, loser, self._at(day - 1 + rng.uniform(0.3, 0.95)))

    # Programs

    def _take_campaign(self, campaign: Record, day: int) -> None:
        key = str(campaign["Id"])
        number = self.program_of.get(key)
        if campaign["IsDeleted"]:
            self.programs.pop(number or 0, None)
            return
        if number is None:
            number = self.program_of[key] = FIRST_PROGRAM + len(self.program_of)
        channel, kind = CHANNELS.get(str(campaign["Type"]), ("Operational", "Default"))
        created = self._asset_time(campaign["CreatedDate"])
        updated = self._asset_time(campaign["LastModifiedDate"])
        is_event = "Event" in kind
        self.programs[number] = {
            "id": number,
            "name": campaign["Name"],
            "description": "",
            "createdAt": created,
            "updatedAt": updated,
            "url": f"https://app-sandbox.marketo.com/#{'ME' if is_event else 'PG'}{number}A1",
            "type": kind,
            "channel": channel,
            "folder": {"type": "Folder", "value": 20, "folderName": "Programs"},
            "status": "unlocked" if kind == "Email" else "",
            "workspace": "Default",
            "costs": _period_costs(campaign, self._clock.date(day)),
            "sfdcId": key,
            "sfdcName": campaign["Name"],
            **(
                {
                    "startDate": f"{campaign['StartDate']}T08:00:00Z+0000",
                    "endDate": f"{campaign['EndDate']}T18:00:00Z+0000",
                }
                if is_event
                else {}
            ),
        }
        if FIRST_CAMPAIGN + 2 * (number - FIRST_PROGRAM) not in self.campaigns:
            self._smart_campaigns(number, campaign)

    def _asset_time(self, stamp: object) -> str:
        """Times of assets are written in a way of their own: ``…Z+0000``."""
        return f"{self._from_salesforce(stamp)}+0000"

    def _smart_campaigns(self, program: int, campaign: Record) -> None:
        created = self._from_salesforce(campaign["CreatedDate"])
        if not self.campaigns:
            self.campaigns[SCORING_CAMPAIGN] = self._smart_campaign(
                SCORING_CAMPAIGN, "Scoring: behaviour", "trigger", None, None, self._at(BEGAN)
            )
        first = FIRST_CAMPAIGN + 2 * (program - FIRST_PROGRAM)
        for place, (name, kind) in enumerate((("01-Send", "batch"), ("02-Responded", "trigger"))):
            self.campaigns[first + place] = self._smart_campaign(
                first + place, name, kind, program, str(campaign["Name"]), created
            )
        if str(campaign["Type"]) in ("Trade Show", "Conference"):
            number = FIRST_LIST + 1 + len(self.lists)
            self._list(number, f"Scanned at {campaign['Name']}", str(campaign["Name"]), created)
            self.list_members[number] = {}

    @staticmethod
    def _smart_campaign(
        number: int, name: str, kind: str, program: int | None, program_name: str | None, at: str
    ) -> Record:
        parent = {"programName": program_name, "programId": program} if program else {}
        return {
            "id": number,
            "name": name,
            "description": "",
            "type": kind,
            **parent,
            "workspaceName": "Default",
            "createdAt": at,
            "updatedAt": at,
            "active": kind == "trigger",
        }

    def _list(self, number: int, name: str, program: str | None, at: str) -> Record:
        record: Record = {
            "id": number,
            "name": name,
            "description": None,
            **({"programName": program} if program else {}),
            "workspaceName": "Default",
            "createdAt": at,
            "updatedAt": at,
        }
        self.lists[number] = record
        return record

    def _take_member(self, member: Record) -> Iterator[Record]:
        program = self.program_of.get(str(member["CampaignId"]))
        lead = self._by_salesforce_id.get(str(member["LeadId"] or member["ContactId"]))
        if program not in self.programs or lead not in self.leads:
            return
        assert program is not None and lead is not None
        if member["IsDeleted"]:
            self.members.pop((program, lead), None)
            return
        since = self._from_salesforce(member["CreatedDate"], _SYNC_DELAY)
        updated = self._from_salesforce(member["SystemModstamp"], _SYNC_DELAY)
        status = PROGRESSION.get(str(member["Status"]), "Member")
        joined: Record = {
            "programId": program,
            "program": self.programs[program]["name"],
            "leadId": lead,
            "statusName": status,
            "membershipDate": since,
            "reachedSuccess": bool(member["HasResponded"]),
            "reachedSuccessDate": updated if member["HasResponded"] else None,
            "acquiredBy": False,
            "isExhausted": False,
            "nurtureCadence": None,
            "createdAt": since,
            "updatedAt": updated,
        }
        self._join(program, lead, joined)
        yield from self._member_activities(program, lead, since, updated, status)

    # Activities

    @staticmethod
    def _activity(
        lead: int,
        kind: int,
        at: str,
        asset: int | None,
        value: str | None,
        attributes: Record,
        campaign: int | None = None,
    ) -> Record:
        return {
            "leadId": lead,
            "activityDate": at,
            "activityTypeId": kind,
            "campaignId": campaign,
            "primaryAttributeValueId": asset,
            "primaryAttributeValue": value,
            "attributes": {name: item for name, item in attributes.items() if item is not None},
        }

    def _first_activities(self, lead: Record) -> Iterator[Record]:
        number, at = int(str(lead["id"])), str(lead["createdAt"])
        rng = dice(f"{self._company.seed}:marketing:first:{number}")
        agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"
        address = f"198.51.100.{rng.randrange(1, 255)}"
        yield self._activity(
            number, NEW_LEAD, at, None, None,
            {"Created Date": at[:10], "Source Type": lead["originalSourceType"], "SFDC Type": lead.get("sfdcType")},
        )  # fmt: skip
        if lead["originalSourceType"] == "Web form fillout":
            yield self._activity(
                number, VISIT_PAGE, at, 501, "/free-trial/",
                {"Client IP Address": address, "Query Parameters": "utm_source=x&y=\"1\"",
                 "Referrer URL": lead["originalReferrer"], "User Agent": agent, "Webpage URL": "/free-trial/"},
            )  # fmt: skip
            yield self._activity(
                number, FILL_FORM, at, 601, "Free trial",
                {"Client IP Address": address, "Form Fields": 'a:1:{s:5:"Email";s:1:"x";}',
                 "Referrer URL": lead["originalReferrer"], "User Agent": agent, "Webpage ID": 501},
            )  # fmt: skip
        yield self._activity(
            number, CHANGE_SCORE, at, None, "Lead Score",
            {"Change Value": f"+{lead['leadScore']}", "New Value": lead["leadScore"], "Old Value": 0,
             "Reason": "Changed by Smart Campaign Scoring: behaviour"},
            SCORING_CAMPAIGN,
        )  # fmt: skip

    def _member_activities(
        self, program: int, lead: int, since: str, updated: str, status: str
    ) -> Iterator[Record]:
        rng = dice(f"{self._company.seed}:marketing:member:{program}:{lead}")
        campaign = FIRST_CAMPAIGN + 2 * (program - FIRST_PROGRAM)
        mailing = FIRST_MAILING + program
        name = f"{self.programs[program]['name']}.Invitation"
        step: Record = {
            "Campaign Run ID": campaign % 97,
            "Choice Number": 0,
            "Step ID": 7,
            "Test Variant": 0,
        }
        yield self._activity(lead, SEND_EMAIL, since, mailing, name, step, campaign)
        is_bounced = rng.random() < 0.03
        outcome = EMAIL_BOUNCED if is_bounced else EMAIL_DELIVERED
        more = (
            {"Category": "2", "Details": "550 5.1.1", "Subcategory": "2003"} if is_bounced else {}
        )
        yield self._activity(lead, outcome, since, mailing, name, {**step, **more}, campaign)
        if status == "Responded":
            device = {"Device": "unknown", "Is Mobile Device": False, "Platform": "unknown"}
            yield self._activity(
                lead, OPEN_EMAIL, updated, mailing, name, {**step, **device}, campaign
            )
            link = {"Link": "https://www.meltano-sandbox.com/?a=1&b=2", "Link ID": 77}
            yield self._activity(
                lead, CLICK_EMAIL, updated, mailing, name, {**step, **device, **link}, campaign
            )
        yield self._activity(
            lead, CHANGE_PROGRESSION, updated, program, str(self.programs[program]["name"]),
            {"New Status": status, "New Status ID": len(status), "Reason": "Imported from SFDC",
             "Success": status == "Responded", "Acquired By": False},
            campaign + 1,
        )  # fmt: skip


def _period_costs(campaign: Record, today: str) -> list[Record]:
    """The campaign's cost in whole units, spread over the months in which it ran."""
    if campaign["ActualCost"] is None:
        return []
    total = int(float(str(campaign["ActualCost"])) + 0.5)
    first = date.fromisoformat(str(campaign["StartDate"])).replace(day=1)
    last = date.fromisoformat(max(str(first), min(str(campaign["EndDate"]), today)))
    months = [first]
    while (following := (months[-1] + timedelta(days=32)).replace(day=1)) <= last:
        months.append(following)
    share, rest = divmod(total, len(months))
    return [
        {
            "startDate": f"{month.isoformat()}T00:00:00Z+0000",
            "cost": share + (place < rest),
            "note": "",
        }
        for place, month in enumerate(months)
    ]


def attributes_text(activity: Record) -> str:
    """The attributes as the bulk file has them: one JSON object."""
    return json.dumps(activity["attributes"], ensure_ascii=False, separators=(",", ":"))
