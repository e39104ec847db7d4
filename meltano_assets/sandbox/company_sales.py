"""The sales side of the company: users, accounts, contacts, leads, campaigns, opportunities.

Records are dicts by API name with values in Salesforce's own wire form. The first of each kind
are traps with a known truth; the rest is filler in realistic shares.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zlib import crc32

from meltano_assets.sandbox.company_words import (
    DEPARTMENTS,
    INDUSTRIES,
    JOB_TITLES,
    Organisation,
    mailbox,
    person,
)

Record = dict[str, object]

KEY_PREFIXES = {
    "Account": "001",
    "Contact": "003",
    "Lead": "00Q",
    "Campaign": "701",
    "CampaignMember": "00v",
    "Opportunity": "006",
    "OpportunityHistory": "008",
    "OpportunityLineItem": "00k",
    "Product2": "01t",
    "User": "005",
    "Host__c": "a00",
    "UserRole": "00E",
    "RecordType": "012",
    "OpportunityStage": "01J",
    "Pricebook2": "01s",
    "PricebookEntry": "01u",
    "OpportunityContactRole": "00K",
    "Task": "00T",
    "Event": "00U",
    "AccountHistory": "017",
    "OpportunityFieldHistory": "017",
    "zqu__ZProduct__c": "a01",
    "zqu__ProductRatePlan__c": "a02",
    "zqu__ProductRatePlanCharge__c": "a03",
    "zqu__ProductRatePlanChargeTier__c": "a04",
    "zqu__Quote__c": "a05",
    "zqu__QuoteRatePlan__c": "a06",
    "zqu__QuoteRatePlanCharge__c": "a07",
    "Zuora__CustomerAccount__c": "a08",
    "Zuora__Product__c": "a09",
    "Zuora__Subscription__c": "a10",
    "Zuora__SubscriptionProductCharge__c": "a11",
}
#: Histories of all objects share their prefix, and no id is given twice.
_FIRST = {"OpportunityFieldHistory": 62**4}
#: Name → number of the record types and roles, in the order in which they were made.
RECORD_TYPES = {"Standard Account": 1, "Partner Account": 2, "Standard": 3, "Renewal": 4}
ROLES = {"Executive": 1, "VP Sales": 2, "Account Executive": 3, "SDR": 4, "BDR": 5}
#: Record numbers from here on are free for records that clients create.
FIRST_FREE_NUMBER = 1_000_000_000

STAGES = {
    "00-Pre Opportunity": 0,
    "0-Pending Acceptance": 10,
    "1-Discovery": 20,
    "2-Scoping": 35,
    "3-Technical Evaluation": 45,
    "4-Proposal": 60,
    "5-Negotiating": 80,
    "6-Awaiting Signature": 90,
    "Closed Won": 100,
    "8-Closed Lost": 0,
    "9-Unqualified": 0,
    "10-Duplicate": 0,
}
NOT_SALES_ACCEPTED_STAGES = ("00-Pre Opportunity", "9-Unqualified", "10-Duplicate")
_OPEN_STAGES = tuple(STAGES)[1:8]
SOURCE_GROUPS = {"SDR Generated": "SDR", "BDR Generated": "BDR", "AE Generated": "AE"}
_QUALIFIED_SOURCES = {
    "SDR Generated": 30,
    "BDR Generated": 20,
    "AE Generated": 22,
    "Web Direct": 6,
    "Channel Generated": 7,
    "Marketing": 9,
    None: 6,
}
_LEAD_SOURCES = {
    "Contact Request": 14,
    "Enterprise Trial": 16,
    "Webcast": 8,
    "White Paper": 6,
    "Live Event": 5,
    "Trade Show": 9,
    "Advertisement": 6,
    "Newsletter": 3,
    "SDR Generated": 8,
    "AE Generated": 4,
    "CE Download": 6,
    "Word of Mouth": 3,
    "Partner": 3,
    "Existing Client": 4,
    "Web Direct": 8,
    None: 5,
}
_OPPORTUNITY_TYPES = {
    "New Business": 52,
    "Add-On Business": 28,
    "Renewal": 10,
    "Reseller": 4,
    None: 6,
}
_SEGMENTS = {"SMB": 40, "Mid-Market": 30, "Large": 18, "Strategic": 6, None: 6}
_LOSS_REASONS = ("Price", "No Decision", "Lost to Competitor", "Product Maturity", "No Budget")
_CAMPAIGN_TYPES = ("Advertisement", "Webcast", "Trade Show", "Email", "White Paper", "Conference")
_ACCOUNT_TYPES = {
    "Customer": 22,
    "Prospect": 44,
    "Prospect - CE User": 18,
    "Partner": 6,
    None: 10,
}

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def salesforce_id(prefix: str, number: int) -> str:
    """The 18-character id of a record: prefix, pod, number in base 62, checksum of the case."""
    digits = ""
    while number:
        number, rest = divmod(number, 62)
        digits = _BASE62[rest] + digits
    return full_id(f"{prefix}5e{digits.rjust(10, '0')}")


def full_id(short: str) -> str:
    """The 18 characters of an id of 15."""
    checksum = ""
    for start in (0, 5, 10):
        upper = sum(1 << i for i, c in enumerate(short[start : start + 5]) if "A" <= c <= "Z")
        checksum += "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[upper]
    return short + checksum


def record_type(name: str) -> str:
    """The id of a record type."""
    return salesforce_id(KEY_PREFIXES["RecordType"], RECORD_TYPES[name])


def _place(domain: str) -> Record:
    """Where an account sits, for one of three; follows from its domain alone."""
    number = crc32(domain.encode())
    if number % 3:
        return {}
    latitude, longitude = number % 120_000 / 1000 - 60, number % 360_000 / 1000 - 180
    return {
        "BillingStreet": f"{number % 300 + 1} Market Street",
        "BillingCity": ("Utrecht", "Denver", "Osaka", "Lagos")[number % 4],
        "BillingLatitude": latitude,
        "BillingLongitude": longitude,
        "Headquarters__Latitude__s": latitude,
        "Headquarters__Longitude__s": longitude,
    }


def choose(rng: random.Random, weights: Mapping[str | None, int]) -> str | None:
    """One key by its weight."""
    return rng.choices(list(weights), weights=list(weights.values()))[0]


@dataclass(frozen=True, slots=True)
class Clockwork:
    """Moments of the company's life, counted from its anchor."""

    anchor: datetime

    def at(self, days: float) -> datetime:
        """The moment that many days after the anchor (before it when negative)."""
        return self.anchor + timedelta(seconds=round(days * 86_400))

    def stamp(self, days: float) -> str:
        """The moment in Salesforce's form."""
        return self.at(days).strftime("%Y-%m-%dT%H:%M:%S.000+0000")

    def date(self, days: float) -> str:
        """The date of the moment."""
        return self.at(days).strftime("%Y-%m-%d")


@dataclass(slots=True)
class Sales:
    """Makes the records; keeps the counters from which their ids come."""

    seed: int
    clock: Clockwork
    numbers: dict[str, int] = field(default_factory=dict)

    def new_id(self, object_name: str) -> str:
        """The next id of that object."""
        number = self.numbers.get(object_name, _FIRST.get(object_name, 0)) + 1
        self.numbers[object_name] = number
        return salesforce_id(KEY_PREFIXES[object_name], number)

    def audit(self, created: float, modified: float) -> Record:
        """The audit fields of a record that lived from ``created`` to ``modified``."""
        stamp = self.clock.stamp(modified)
        return {
            "CreatedDate": self.clock.stamp(created),
            "LastModifiedDate": stamp,
            "SystemModstamp": stamp,
            "IsDeleted": False,
        }

    def users(self, rng: random.Random, count: int) -> list[Record]:
        """People who own records; the first manages the others."""
        records: list[Record] = []
        for i in range(count):
            given, family = person(rng)
            address = f"{mailbox(given, family)}.{i + 1}@meltano-sandbox.com"
            created = rng.uniform(-900, -560)
            audit = self.audit(created, rng.uniform(created, -1))
            del audit["IsDeleted"]
            manager = records[0]["Id"] if i else None
            title = "VP Sales" if not i else rng.choice(["Account Executive", "SDR", "BDR"])
            records.append(
                {
                    "Id": self.new_id("User"),
                    "Username": address,
                    "Name": f"{given} {family}",
                    "Email": address,
                    "Title": title,
                    "Department": DEPARTMENTS[i % len(DEPARTMENTS)],
                    "IsActive": i < 3 or rng.random() < 0.85,
                    "ManagerId": manager,
                    "UserRoleId": salesforce_id(KEY_PREFIXES["UserRole"], ROLES[title]),
                    **audit,
                }
            )
        return records

    def account(
        self,
        rng: random.Random,
        organisation: Organisation,
        *,
        owner: object,
        type_: str | None,
        website: str | None,
        name: str | None = None,
        filled: float = 0.6,
        created: float | None = None,
    ) -> Record:
        """An account of that organisation; ``filled`` is the share of optional fields known."""
        since = rng.uniform(-1200, -560) if created is None else created
        modified = min(since + abs(rng.gauss(0, 120)), -0.3) if created is None else created

        def known(value: object) -> object:
            return value if rng.random() < filled else None

        return {
            "Id": self.new_id("Account"),
            "Name": name or organisation.legal_name,
            "Type": type_,
            "Website": website,
            "Industry": known(organisation.industry),
            "Description": known(f"Met at a fair. {organisation.description}"),
            "NumberOfEmployees": known(organisation.employees + rng.randrange(0, 5)),
            "Phone": known(organisation.phone),
            "BillingCountry": organisation.country,
            **_place(organisation.domain),
            "RecordTypeId": record_type(
                "Partner Account" if type_ == "Partner" else "Standard Account"
            ),
            "ParentId": None,
            "OwnerId": owner,
            "AccountSource": choose(rng, _LEAD_SOURCES),
            "Sales_Segmentation__c": choose(rng, _SEGMENTS),
            "Using_CE__c": type_ == "Prospect - CE User",
            "Active_CE_Users__c": rng.randrange(1, 400) if type_ == "Prospect - CE User" else None,
            "Meltano_Id__c": None,
            **self.audit(since, modified),
        }

    def account_type(self, rng: random.Random) -> str | None:
        """A type in the usual shares."""
        return choose(rng, _ACCOUNT_TYPES)

    def contact(
        self, rng: random.Random, account: Record, domain: str, owner: object, created: float
    ) -> Record:
        """A person at the account."""
        given, family = person(rng)
        return {
            "Id": self.new_id("Contact"),
            "AccountId": account["Id"],
            "FirstName": given if rng.random() < 0.95 else None,
            "LastName": family,
            "Email": f"{mailbox(given, family)}@{domain}" if rng.random() < 0.9 else None,
            "Title": rng.choice(JOB_TITLES),
            "LeadSource": choose(rng, _LEAD_SOURCES),
            "OwnerId": owner,
            **self.audit(created, min(created + abs(rng.gauss(0, 30)), max(created, -0.3))),
        }

    def lead(
        self, rng: random.Random, organisation: Organisation, owner: object, created: float
    ) -> Record:
        """A person who showed interest."""
        given, family = person(rng)
        is_qualified = rng.random() < 0.55
        return {
            "Id": self.new_id("Lead"),
            "FirstName": given if rng.random() < 0.9 else None,
            "LastName": family,
            "Email": f"{mailbox(given, family)}@{organisation.domain}",
            "Company": organisation.name,
            "Title": rng.choice(JOB_TITLES),
            "Status": rng.choice(["Raw", "Inquiry", "MQL", "Accepted", "Qualifying", "Nurture"]),
            "LeadSource": choose(rng, _LEAD_SOURCES),
            "Industry": rng.choice(INDUSTRIES) if rng.random() < 0.5 else None,
            "Website": organisation.domain if rng.random() < 0.5 else None,
            "IsConverted": False,
            "ConvertedDate": None,
            "ConvertedAccountId": None,
            "ConvertedContactId": None,
            "ConvertedOpportunityId": None,
            "MQL_Date__c": self.clock.date(created + rng.uniform(0, 4)) if is_qualified else None,
            "OwnerId": owner,
            **self.audit(created, min(created + abs(rng.gauss(0, 20)), max(created, -0.3))),
        }

    def campaigns(self, rng: random.Random, owners: list[Record], count: int) -> list[Record]:
        """Parents without costs of their own, then their children; one is deleted."""
        parents = max(2, count // 6)
        records: list[Record] = []
        for i in range(parents + count):
            is_parent = i < parents
            start = -545 + 500 * (i % parents) / parents if is_parent else rng.uniform(-540, 10)
            end = start + (540 / parents if is_parent else rng.uniform(1, 60))
            kind = _CAMPAIGN_TYPES[i % len(_CAMPAIGN_TYPES)]
            status = "Planned" if start > 0 else "In Progress" if end > 0 else "Completed"
            budget = None if is_parent else float(rng.randrange(10, 900) * 100)
            cost = None
            if budget is not None and status != "Planned" and rng.random() < 0.92:
                cost = round(budget * rng.uniform(0.5, 1.4), 2)
            parent = None if is_parent else records[rng.randrange(parents)]["Id"]
            created = min(start - rng.uniform(5, 40), -0.5)
            records.append(
                {
                    "Id": self.new_id("Campaign"),
                    "Name": f"{'Programme' if is_parent else kind} {i + 1}",
                    "Type": None if is_parent else kind,
                    "Status": status,
                    "IsActive": status == "In Progress",
                    "StartDate": self.clock.date(start),
                    "EndDate": self.clock.date(end),
                    "BudgetedCost": budget,
                    "ActualCost": cost,
                    "ExpectedRevenue": None if budget is None else budget * 6,
                    "ParentId": parent,
                    "OwnerId": rng.choice(owners)["Id"],
                    **self.audit(created, min(max(end, created), -0.4)),
                }
            )
        records[-1]["IsDeleted"] = True
        return records

    def campaign_member(
        self, rng: random.Random, campaign: Record, person_: Record, is_lead: bool, created: float
    ) -> Record:
        """A lead or contact that the campaign reached."""
        has_responded = rng.random() < 0.4
        responded = min(created + rng.uniform(0, 15), max(created, -0.4))
        return {
            "Id": self.new_id("CampaignMember"),
            "CampaignId": campaign["Id"],
            "LeadId": person_["Id"] if is_lead else None,
            "ContactId": None if is_lead else person_["Id"],
            "Status": "Responded" if has_responded else rng.choice(["Sent", "Registered"]),
            "HasResponded": has_responded,
            "FirstRespondedDate": self.clock.date(responded) if has_responded else None,
            **self.audit(created, responded if has_responded else created),
        }

    def opportunity(
        self,
        rng: random.Random,
        account: Record,
        owner: object,
        campaign: object,
        created: float,
        **values: object,
    ) -> Record:
        """A deal begun at ``created``; ``values`` replace what chance would have given."""
        age = -created
        accepted = created + rng.uniform(0, 25) if rng.random() < 0.85 else None
        stage = rng.choice(_OPEN_STAGES)
        close = created + rng.uniform(20, 220)
        draw = rng.random()
        if draw < 0.06:
            stage = rng.choice(NOT_SALES_ACCEPTED_STAGES)
            accepted = accepted if rng.random() < 0.4 else None
        elif close < 0 and age > 30:
            stage = "Closed Won" if draw < 0.4 else "8-Closed Lost"
        if accepted is None or accepted > -0.4:
            accepted = None
            stage = stage if stage in NOT_SALES_ACCEPTED_STAGES else "0-Pending Acceptance"
        amount = round(min(900_000.0, rng.lognormvariate(9.3, 1.2)), 2)
        if accepted is None and rng.random() < 0.3:
            incremental, total = None, None
        elif rng.random() < 0.02:
            incremental, total = -amount, -amount
        else:
            incremental, total = round(amount * rng.uniform(0.4, 1.0), 2), amount
        modified = max(
            created, min(-0.3, close if stage in STAGES and close < 0 else -rng.uniform(0.3, 20))
        )
        record: Record = {
            "Id": self.new_id("Opportunity"),
            "AccountId": account["Id"],
            "Name": f"{account['Name']} - {rng.randrange(5, 900)} seats",
            "StageName": stage,
            "Type": choose(rng, _OPPORTUNITY_TYPES),
            "LeadSource": choose(rng, _LEAD_SOURCES),
            "Amount": total,
            "CloseDate": self.clock.date(close),
            "CampaignId": campaign,
            "OwnerId": owner,
            "Sales_Accepted_Date__c": None if accepted is None else self.clock.date(accepted),
            "Sales_Qualified_Date__c": None
            if accepted is None
            else self.clock.date(accepted + rng.uniform(0, 12)),
            "SQL_Source__c": choose(rng, _QUALIFIED_SOURCES),
            "Incremental_ACV__c": incremental,
            "ACV__c": total,
            "Sales_Segmentation__c": account["Sales_Segmentation__c"],
            "Reason_for_Loss__c": None,
            "CurrencyIsoCode": rng.choices(["USD", "EUR", "GBP"], weights=[80, 12, 8])[0],
            **self.audit(created, modified),
        }
        record.update(values)
        return close_fields(record, rng)


def close_fields(record: Record, rng: random.Random) -> Record:
    """The record with the fields that follow from its stage."""
    stage = str(record["StageName"])
    record["IsWon"] = stage == "Closed Won"
    record["IsClosed"] = record["IsWon"] or stage in (
        "8-Closed Lost",
        "9-Unqualified",
        "10-Duplicate",
    )
    record["Probability"] = STAGES[stage]
    record["RecordTypeId"] = record_type("Renewal" if record["Type"] == "Renewal" else "Standard")
    record["Reason_for_Loss__c"] = rng.choice(_LOSS_REASONS) if stage == "8-Closed Lost" else None
    return record


def is_sales_accepted(record: Record) -> bool:
    """The design's rule for a sales-accepted opportunity, over a raw record."""
    amount = record["Amount"]
    return (
        record["Sales_Accepted_Date__c"] is not None
        and not record["IsDeleted"]
        and record["Type"] in ("New Business", "Add-On Business", None)
        and record["StageName"] not in NOT_SALES_ACCEPTED_STAGES
        and isinstance(amount, int | float)
        and amount >= 0
        and record["LeadSource"] != "Web Direct"
    )


def source_group(record: Record) -> str:
    """SDR, BDR, AE or Other, by the source that qualified the opportunity."""
    return SOURCE_GROUPS.get(str(record["SQL_Source__c"]), "Other")


#: Name of the trap → what it sets on an otherwise countable opportunity; whether it still counts.
OPPORTUNITY_TRAPS: dict[str, tuple[dict[str, object], bool]] = {
    "deleted": ({"IsDeleted": True}, False),
    "unqualified": ({"StageName": "9-Unqualified"}, False),
    "duplicate": ({"StageName": "10-Duplicate"}, False),
    "pre_opportunity": ({"StageName": "00-Pre Opportunity"}, False),
    "renewal": ({"Type": "Renewal"}, False),
    "reseller": ({"Type": "Reseller"}, False),
    "web_direct_lead_source": ({"LeadSource": "Web Direct"}, False),
    "negative_amount": ({"Amount": -4_200.5, "ACV__c": -4_200.5}, False),
    "not_accepted": ({"Sales_Accepted_Date__c": None, "Sales_Qualified_Date__c": None}, False),
    "null_lead_source": ({"LeadSource": None}, True),
    "null_type": ({"Type": None}, True),
    "null_source": ({"SQL_Source__c": None}, True),
    "web_direct_source_only": ({"SQL_Source__c": "Web Direct"}, True),
    "zero_amount": ({"Amount": 0.0, "ACV__c": 0.0}, True),
    "lost": ({"StageName": "8-Closed Lost"}, True),
    "no_segment": ({"Sales_Segmentation__c": None}, True),
    "accepted_before_created": ({}, True),
}


def trap_opportunity(
    sales: Sales, rng: random.Random, account: Record, owner: object, name: str
) -> Record:
    """An opportunity of the named trap, some 100 days old."""
    created = -rng.uniform(60, 200)
    values: dict[str, object] = {
        "StageName": "3-Technical Evaluation",
        "Type": "New Business",
        "LeadSource": "Contact Request",
        "SQL_Source__c": "SDR Generated",
        "Amount": 12_500.0,
        "ACV__c": 12_500.0,
        "Incremental_ACV__c": 10_000.0,
        "Sales_Segmentation__c": "SMB",
        "Sales_Accepted_Date__c": sales.clock.date(created + (-9 if "before" in name else 9)),
        "Sales_Qualified_Date__c": sales.clock.date(created + 12),
    }
    values.update(OPPORTUNITY_TRAPS[name][0])
    return sales.opportunity(rng, account, owner, None, created, **values)
