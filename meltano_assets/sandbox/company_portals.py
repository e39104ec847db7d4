"""What the company's own applications keep in their databases: portal, licenses, versions, tests.

The rows follow from what happens elsewhere: a billing account is a customer of the portal, a
subscription an order, a licensed installation a license, a usage ping an index of development. A
changed row comes whole, with its old id; times are datetimes in UTC.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import cast

from meltano_assets.sandbox.company_billing import BillingDesk
from meltano_assets.sandbox.company_hosts import EXCLUDED, Installation
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World, scaled

#: Database → its tables beside the pings.
Rows = dict[str, dict[str, list[Record]]]

_INDEX_SUBJECTS = {
    "boards": 1.7,
    "ci_pipelines": 83.0,
    "deployments": 21.0,
    "environments": 4.2,
    "issues": 17.3,
    "merge_requests": 12.9,
    "milestones": 0.8,
    "notes": 61.0,
    "projects_prometheus_active": 0.3,
    "service_desk_issues": 2.4,
}
_ADD_ONS = ("GitLab_FileLocks", "GitLab_Geo", "GitLab_Auditor_User", "GitLab_DeployBoard")
_SPEC_FOLDERS = ("models", "requests", "features", "services", "workers", "lib")
_FIRST_TRIAL = 900_001


class Portals:
    """The applications' rows, built day by day."""

    def __init__(self, world: World, billing: BillingDesk) -> None:
        self._world = world
        self._billing = billing
        self._days: dict[int, Rows] = {}
        self._customers: dict[str, Record] = {}
        self._orders: dict[str, Record] = {}
        self._licenses: dict[int, Record] = {}
        self._plans: dict[str, str] = {}
        self._charges: dict[str, int] = {}
        self._subscription_of: dict[str, str] = {}
        self._changes = 0
        self._specs = 0

    def rows(self, day: int) -> Rows:
        """Database → table → rows that came or changed on that day; day 0 has all of them.

        World and billing must have lived through that day.
        """
        for next_day in range(len(self._days), day + 1):
            self._days[next_day] = self._build(next_day)
        return self._days[day]

    def _build(self, day: int) -> Rows:
        rng = dice(f"{self._world.seed}:portals:{day}")
        customers = self._portal(day)
        pings = self._world.pings[day]["usage_data"]
        return {
            "customers": customers,
            "license": self._license(day, rng),
            "version": self._version(day, rng, pings),
            "ci_stats": {"spec_profiling_results": self._test_runs(day, rng)},
        }

    # The portal

    def _portal(self, day: int) -> dict[str, list[Record]]:
        billed = self._billing.records(day)
        for plan in billed.get("RatePlan", []):
            self._plans[str(plan["SubscriptionId"])] = str(plan["ProductRatePlanId"])
            self._subscription_of[str(plan["Id"])] = str(plan["SubscriptionId"])
        for charge in billed.get("RatePlanCharge", []):
            if charge["IsLastSegment"] and charge["ChargeType"] == "Recurring":
                charged = self._subscription_of.get(str(charge["RatePlanId"]), "")
                self._charges[charged] = int(str(charge["Quantity"]))
        customers = [self._customer(account) for account in billed.get("Account", [])]
        orders: dict[str, Record] = {}
        versions: list[Record] = []
        for subscription in billed.get("Subscription", []):
            if subscription["Status"] in ("Expired", "Draft"):
                continue
            is_new = subscription["Name"] not in self._orders
            order = self._order(subscription)
            orders[str(order["id"])] = order
            versions.append(self._version_of(order, "create" if is_new else "update"))
        return {
            "customers": customers,
            "orders": list(orders.values()),
            "versions": versions,
        }

    def _customer(self, account: Record) -> Record:
        key = str(account["Id"])
        before = self._customers.get(key)
        made, changed = _time(account["CreatedDate"]), _time(account["UpdatedDate"])
        visits = int(str(before["sign_in_count"])) + 1 if before else 1
        row: Record = {
            "id": before["id"] if before else len(self._customers) + 1,
            "zuora_account_id": key,
            "salesforce_account_id": account["CrmId"],
            "billable": account["Status"] == "Active",
            "sign_in_count": visits,
            "current_sign_in_at": changed,
            "last_sign_in_at": before["current_sign_in_at"] if before else None,
            "created_at": made,
            "updated_at": changed,
        }
        self._customers[key] = row
        return row

    def _order(self, subscription: Record) -> Record:
        name, key = str(subscription["Name"]), str(subscription["Id"])
        before = self._orders.get(name)
        row: Record = {
            "id": before["id"] if before else len(self._orders) + 1,
            "customer_id": self._customers[str(subscription["AccountId"])]["id"],
            "product_rate_plan_id": self._plans.get(key),
            "subscription_id": key,
            "subscription_name": name,
            "start_date": subscription["TermStartDate"],
            "end_date": subscription["SubscriptionEndDate"],
            "quantity": self._charges.get(key),
            "created_at": before["created_at"] if before else subscription["OriginalCreatedDate"],
            "updated_at": subscription["UpdatedDate"],
        }
        self._orders[name] = row
        return row

    def _version_of(self, order: Record, event: str) -> Record:
        self._changes += 1
        return {
            "id": self._changes,
            "item_type": "Order",
            "item_id": order["id"],
            "event": event,
            "transaction_id": 40_000 + self._changes,
            "created_at": order["updated_at"],
        }

    # Licenses

    def _license(self, day: int, rng: random.Random) -> dict[str, list[Record]]:
        begin = self._world.clock.at(-600)
        rows: dict[str, list[Record]] = {name: [] for name in ("licenses", "granted_add_ons")}
        if day == 0:
            rows["add_ons"] = [
                _audited({"id": i + 1, "name": name.replace("_", " "), "code": name}, begin)
                for i, name in enumerate(_ADD_ONS)
            ]
            rows["plans"] = [
                _audited(
                    {
                        "id": i + 1,
                        "recurly_code": code,
                        "recurly_name": f"{code.title()} {seats}",
                        "users_count": seats,
                    },
                    begin,
                )
                for i, (code, seats) in enumerate(
                    (code, seats) for code in ("basic", "standard", "plus") for seats in (10, 100)
                )
            ]
            rows["users"] = self._users(begin, is_text=True)
        for item in self._licensed(day):
            row = self._issued(item, rng)
            rows["licenses"].append(row)
            grant: Record = {
                "id": len(self._licenses),
                "license_id": row["id"],
                "add_on_id": 1 + int(str(row["id"])) % len(_ADD_ONS),
                "quantity": 1,
            }
            rows["granted_add_ons"].append(_audited(grant, _time(row["created_at"])))
        for number in range(scaled(12 if day == 0 else 1, self._world.scale)):
            rows["licenses"].append(self._trial(day, number, rng))
        return rows

    def _licensed(self, day: int) -> Iterable[Installation]:
        for item in self._world.installations:
            is_there = item.license_id is not None and item.from_day <= day
            if is_there and item.license_id not in self._licenses:
                yield item

    def _issued(self, item: Installation, rng: random.Random) -> Record:
        clock = self._world.clock
        issued = clock.at(min(item.first_ping, 0.0) - rng.uniform(1, 30))
        domain = item.raw_hosts[0].clean_domain if item.raw_hosts else None
        facts = self._world.facts.get(domain or "")
        organisation = facts.organisation if facts else None
        row: Record = {
            "id": item.license_id,
            "company": organisation.legal_name if organisation else None,
            "users_count": item.users + 10,
            "starts_at": clock.at(-300).date(),
            "expires_at": clock.at(65).date(),
            "plan_name": item.edition,
            "plan_code": item.edition.lower(),
            "trial": False,
            "zuora_subscription_id": self._subscription_at(domain),
            "recurly_subscription_id": None,
            "previous_users_count": item.users if item.number % 2 else None,
            "trueup_quantity": 5 if item.number % 4 == 0 else None,
            "trueup_from": clock.at(-300).date() if item.number % 4 == 0 else None,
            "trueup_to": clock.at(65).date() if item.number % 4 == 0 else None,
        }
        self._licenses[int(str(item.license_id))] = row
        return _audited(row, issued)

    def _subscription_at(self, domain: str | None) -> object:
        """A subscription of the account whose domain that is, where there is one."""
        for key, organisation in self._world.account_organisations.items():
            if domain and organisation.domain == domain:
                for customer in self._customers.values():
                    if customer["salesforce_account_id"] == key:
                        ids = [
                            o for o in self._orders.values() if o["customer_id"] == customer["id"]
                        ]
                        return ids[-1]["subscription_id"] if ids else None
        return None

    def _trial(self, day: int, number: int, rng: random.Random) -> Record:
        at = day - rng.uniform(0.05, 0.8) if day else -rng.uniform(0.2, 90)
        start = self._world.clock.at(at)
        organisation = self._world.organisations.make(rng.randrange(50_000, 60_000))
        return _audited(
            {
                "id": _FIRST_TRIAL + day * 10_000 + number,
                "company": organisation.name,
                "users_count": 100,
                "starts_at": start.date(),
                "expires_at": start.date() + timedelta(days=30),
                "plan_name": "Trial",
                "plan_code": "trial",
                "trial": True,
            },
            start,
        )

    # Versions

    def _version(
        self, day: int, rng: random.Random, pings: list[Record]
    ) -> dict[str, list[Record]]:
        rows: dict[str, list[Record]] = {
            "licenses": self._reported(pings),
            "conversational_development_indices": [
                _index(ping) for ping in pings if int(str(ping["id"])) % 4 == 0
            ],
        }
        begin = self._world.clock.at(-500)
        if day == 0:
            rows["fortune_companies"] = [
                _audited({"id": i + 1, "rank": i + 2, "company": name, "domain": domain}, begin)
                for i, (domain, name) in enumerate(EXCLUDED.items())
            ]
            rows["users"] = self._users(begin, is_text=False)
        return rows

    def _reported(self, pings: list[Record]) -> list[Record]:
        latest: dict[object, Record] = {}
        for ping in pings:
            if ping["license_id"] is not None:
                latest[ping["license_id"]] = ping
        rows = []
        for key, ping in latest.items():
            known = self._licenses.get(int(str(key)))
            at = _time(ping["updated_at"])
            rows.append(
                {
                    "id": key,
                    "company": known["company"] if known else None,
                    "user_count": ping["license_user_count"],
                    "add_ons": ping["license_add_ons"],
                    "starts_on": _day(ping["license_starts_at"]),
                    "expires_on": _day(ping["license_expires_at"]),
                    "active_users_count": ping["active_user_count"],
                    "historical_max_users_count": ping["historical_max_users"],
                    "last_ping_received_at": at,
                    "version": ping["version"],
                    "created_at": self._world.clock.at(-300),
                    "updated_at": at,
                }
            )
        return rows

    def _users(self, at: datetime, *, is_text: bool) -> list[Record]:
        rows: list[Record] = []
        for number, user in enumerate(self._world.live["User"].values(), 1):
            address = f"198.51.100.{number % 250}" if is_text or number % 5 else None
            row: Record = {
                "id": number,
                "email": user["Email"],
                "sign_in_count": number * 3,
                "current_sign_in_at": at + timedelta(days=number),
                "last_sign_in_at": at,
                "current_sign_in_ip": address,
                "last_sign_in_ip": address,
                "failed_attempts": 0,
                "locked_at": None,
                "provider": "google_oauth2",
                "uid": f"10{number:018d}",
            }
            rows.append(_audited(row, at))
        return rows

    # Tests

    def _test_runs(self, day: int, rng: random.Random) -> list[Record]:
        rows: list[Record] = []
        for pipeline in range(scaled(8 if day == 0 else 2, self._world.scale)):
            at = (day - rng.uniform(0.1, 0.8)) if day else -rng.uniform(0.2, 7)
            moment = self._world.clock.at(at)
            commit = f"{rng.getrandbits(160):040x}"
            for place in range(40):
                self._specs += 1
                has_failed = rng.random() < 0.02
                row: Record = {
                    "id": self._specs,
                    "commit": commit,
                    "branch": "master" if pipeline % 2 == 0 else f"feature-{pipeline}",
                    "date": moment,
                    "file": f"./spec/{_SPEC_FOLDERS[place % 6]}/part_{place}_spec.rb",
                    "line_number": 3 + place * 7,
                    "description": f"part {place} does what it says",
                    "time": round(rng.lognormvariate(-1.5, 1.0), 6),
                    "status": "failed" if has_failed else "passed",
                    "exception": "expected: 1\n     got: 2" if has_failed else None,
                    "query_count": rng.randrange(0, 400),
                    "query_time": round(rng.uniform(0, 0.5), 6),
                    "request_count": rng.randrange(0, 6),
                    "request_time": round(rng.uniform(0, 2), 6),
                }
                rows.append(_audited(row, moment))
        return rows


def _index(ping: Record) -> Record:
    rng = dice(f"{ping['uuid']}:index:{ping['id']}")
    row: Record = {"id": ping["id"], "usage_data_id": ping["id"]}
    for subject, leader in _INDEX_SUBJECTS.items():
        instance = round(leader * min(1.4, rng.expovariate(3.0)), 4)
        row[f"leader_{subject}"] = leader
        row[f"instance_{subject}"] = instance
        row[f"percentage_{subject}"] = round(min(100.0, 100 * instance / leader), 4)
    return _audited(row, _time(ping["updated_at"]))


def _audited(row: Record, at: datetime) -> Record:
    return {**row, "created_at": at, "updated_at": at}


def _time(value: object) -> datetime:
    return cast(datetime, value)


def _day(value: object) -> date | str | None:
    """The date of a time; what is no time (an infinite one) stays."""
    return value.date() if isinstance(value, datetime) else cast("str | None", value)
