"""What happens on one day of the company: news, changes and deletions at every vendor."""

from __future__ import annotations

import random
from dataclasses import replace

from meltano_assets.sandbox import company_hosts as hosts
from meltano_assets.sandbox.company_products import sell, take_back
from meltano_assets.sandbox.company_progress import forget_progress, remember_change
from meltano_assets.sandbox.company_sales import STAGES, Record, close_fields
from meltano_assets.sandbox.company_start import facts_for, host_row, website
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World, scaled

_OPEN = list(STAGES)[1:8]
#: Hours after the beginning of a day in which only clients write; the rest belongs to the day.
QUIET_SHARE = 4 / 24


def build_day(world: World, day: int) -> None:
    """Add day ``day`` (from 1) to the world."""
    rng = dice(f"{world.seed}:day:{day}")

    def moment() -> float:
        return day - 1 + rng.uniform(QUIET_SHARE + 0.01, 0.99)

    owners = [user for user in world.live["User"].values() if user["IsActive"]]

    def owner() -> object:
        return rng.choice(owners)["Id"]

    _accounts(world, rng, day, owner, moment)
    _people(world, rng, day, owner, moment)
    _deals(world, rng, day, owner, moment)
    _campaigns(world, rng, day, moment)
    _pings(world, rng, day, moment)


def _sample(rng: random.Random, records: list[Record], count: float, scale: float) -> list[Record]:
    return rng.sample(records, min(len(records), scaled(count, scale)))


def _living(world: World, object_name: str) -> list[Record]:
    return [r for r in world.live[object_name].values() if not r.get("IsDeleted")]


def _accounts(world: World, rng, day: int, owner, moment) -> None:  # type: ignore[no-untyped-def]
    for _ in range(scaled(2, world.scale)):
        organisation = world.new_organisation()
        record = world.sales.account(
            rng,
            organisation,
            owner=owner(),
            type_=world.sales.account_type(rng),
            website=website(rng, organisation.domain),
            created=moment(),
        )
        world.account_organisations[str(record["Id"])] = organisation
        world.put(day, "Account", record)
    # Accounts with hosts keep what the truths speak of: name, website, type, being there.
    involved = {account for account, _method in world.matches.expected.values()}
    involved.update(account for pair in world.matches.ambiguous.values() for account in pair)
    involved.update(a["Id"] for a in world.live["Account"].values() if a["Name"] == "Microsoft")  # type: ignore[misc]
    quiet = [a for a in _living(world, "Account") if a["Id"] not in involved]
    for account in _sample(rng, quiet, 3, world.scale):
        world.change(
            day, "Account", account, moment(), Sales_Segmentation__c="Mid-Market", OwnerId=owner()
        )
    with_hosts = [a for a in _living(world, "Account") if a["Id"] in involved]
    for account in _sample(rng, with_hosts, 1, world.scale):
        world.change(day, "Account", account, moment(), BillingCountry="Canada")
    if day % 3 == 0:
        used = {o["AccountId"] for o in world.live["Opportunity"].values()}
        for account in _sample(rng, [a for a in quiet if a["Id"] not in used], 1, world.scale):
            current = world.live["Account"][str(account["Id"])]
            world.change(day, "Account", current, moment(), IsDeleted=True)


def _people(world: World, rng, day: int, owner, moment) -> None:  # type: ignore[no-untyped-def]
    accounts = _living(world, "Account")
    for _ in range(scaled(3, world.scale)):
        account = rng.choice(accounts)
        domain = world.account_organisations[str(account["Id"])].domain
        contact = world.sales.contact(rng, account, domain, owner(), moment())
        world.put(day, "Contact", contact)
    for contact in _sample(rng, _living(world, "Contact"), 2, world.scale):
        world.change(day, "Contact", contact, moment(), Title="Director of Engineering")
    for _ in range(scaled(8, world.scale)):
        world.put(day, "Lead", world.sales.lead(rng, world.new_organisation(), owner(), moment()))
    leads = [lead for lead in _living(world, "Lead") if not lead["IsConverted"]]
    chosen = _sample(rng, leads, 6, world.scale)
    for i, lead in enumerate(chosen):
        if i == 0:
            world.change(day, "Lead", lead, moment(), IsDeleted=True)
        else:
            at = moment()
            world.change(day, "Lead", lead, at, Status="MQL", MQL_Date__c=world.clock.date(at))


def _deals(world: World, rng, day: int, owner, moment) -> None:  # type: ignore[no-untyped-def]
    accounts = _living(world, "Account")
    campaigns = [c for c in _living(world, "Campaign") if c["ParentId"]] or [{"Id": None}]
    for _ in range(scaled(4, world.scale)):
        campaign = rng.choice(campaigns)["Id"] if rng.random() < 0.5 else None
        deal = world.sales.opportunity(
            rng, rng.choice(accounts), owner(), campaign, moment(), StageName="0-Pending Acceptance"
        )
        deal["Sales_Accepted_Date__c"] = deal["Sales_Qualified_Date__c"] = None
        sell(world, day, world.put(day, "Opportunity", deal))
        remember_change(world, day, None, deal, deal["CreatedDate"])
    trapped = {
        i for name, ids in world.traps.items() if name.startswith("opportunity_") for i in ids
    }
    open_deals = [
        deal
        for deal in _living(world, "Opportunity")
        if deal["StageName"] in _OPEN and deal["Id"] not in trapped
    ]
    for i, deal in enumerate(_sample(rng, open_deals, 7, world.scale)):
        at = moment()
        if i == 6:
            changed = world.change(day, "Opportunity", deal, at, IsDeleted=True)
            take_back(world, day, deal, at)
            forget_progress(world, day, changed)
            continue
        stage = _OPEN[min(len(_OPEN) - 1, _OPEN.index(str(deal["StageName"])) + 1)]
        if stage == deal["StageName"]:
            stage = rng.choice(["Closed Won", "8-Closed Lost"])
        fields: dict[str, object] = {"StageName": stage}
        if deal["Sales_Accepted_Date__c"] is None:
            fields["Sales_Accepted_Date__c"] = world.clock.date(at)
            if deal["Amount"] is None:  # who accepts a deal says what it is worth
                worth = float(rng.randrange(20, 900) * 100)
                fields |= {"Amount": worth, "ACV__c": worth, "Incremental_ACV__c": worth * 0.8}
        if stage.endswith(("Won", "Lost")):
            fields["CloseDate"] = world.clock.date(at)
        closed = close_fields({**deal, **fields}, rng)
        fields.update(
            {k: closed[k] for k in ("IsWon", "IsClosed", "Probability", "Reason_for_Loss__c")}
        )
        changed = world.change(day, "Opportunity", deal, at, **fields)
        remember_change(world, day, deal, changed, changed["SystemModstamp"])
        if "Amount" in fields:
            sell(world, day, changed)


def _campaigns(world: World, rng, day: int, moment) -> None:  # type: ignore[no-untyped-def]
    campaigns = [
        c for c in _living(world, "Campaign") if c["ParentId"] and c["Status"] != "Planned"
    ]
    for campaign in _sample(rng, campaigns, 2, world.scale):
        cost = campaign["ActualCost"]
        spent = round((cost if isinstance(cost, float) else 0.0) + rng.uniform(50, 900), 2)
        world.change(day, "Campaign", campaign, moment(), ActualCost=spent)
    taken = {(m["CampaignId"], m["LeadId"]) for m in world.live["CampaignMember"].values()}
    for lead in _sample(rng, _living(world, "Lead"), 5, world.scale):
        if not campaigns:
            return
        campaign = rng.choice(campaigns)
        if (campaign["Id"], lead["Id"]) not in taken:
            member = world.sales.campaign_member(rng, campaign, lead, True, moment())
            world.put(day, "CampaignMember", member)


def _pings(world: World, rng, day: int, moment) -> None:  # type: ignore[no-untyped-def]
    rows: dict[str, list[Record]] = {
        "usage_data": [],
        "version_checks": [],
        "hosts": [],
        "versions": [],
    }
    # A host never seen before, of a company nobody knows yet but a provider.
    for i in range(scaled(1, world.scale)):
        organisation = world.new_organisation()
        provider = ("discoverorg", "clearbit", "whois")[(day + i) % 3]
        facts = facts_for(rng, organisation, provider, from_day=day)
        world.facts[organisation.domain] = facts
        world.installations.append(
            world.installation_maker.for_domain(rng, organisation.domain, "git", from_day=day)
        )
        newcomer = world.installations[-1]
        rows["hosts"].append(
            host_row(world, newcomer.number, newcomer.raw_hosts[0].raw, newcomer.first_ping)
        )
    usage: list[Record] = []
    checks: list[Record] = []
    active = [item for item in world.installations if item.last_ping > -60]
    newcomers = [item for item in active if item.from_day == day]
    pinging = newcomers + rng.sample(
        [item for item in active if item.from_day < day],
        min(len(active) - len(newcomers), scaled(60, world.scale)),
    )
    for item in pinging:
        at = max(moment(), item.last_ping) if item.from_day == day else moment()
        release = item.last_release
        if item.from_day < day and rng.random() < 0.1:
            release = min(release + 1, len(hosts.RELEASES) - 1)
        world.installations[item.number - 1] = replace(item, last_ping=at, last_release=release)
        users = max(1, round(item.users * rng.uniform(0.9, 1.2)))
        if item.usage_raw:
            usage.append(hosts.usage_ping(item, world.clock, at, release, users))
        for referer in item.referers:
            checks.append(hosts.version_check(item, world.clock, at - 0.001, release, referer.raw))
    for table, pings in (("usage_data", usage), ("version_checks", checks)):
        rows[table] = world.number_pings(
            table, sorted(pings, key=lambda row: str(row["updated_at"]))
        )
    # An older row is touched again: same id, newer updated_at, nothing else. Only where usage pings
    # say which version runs, so that the touch makes no old version the latest.
    reporting = {item.number for item in world.installations if item.usage_raw}
    known = world.pings[day - 1]["version_checks"]
    if old := [row for row in known if row["host_id"] in reporting]:
        touched_at = world.clock.at(day - 1 + QUIET_SHARE + 0.02)
        rows["version_checks"].append({**rng.choice(old), "updated_at": touched_at})
    world.pings[day] = rows
