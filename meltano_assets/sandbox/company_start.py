"""How the company stands on day 0: organisations, records, installations and their traps."""

from __future__ import annotations

import random

from meltano_assets.sandbox import company_hosts as hosts
from meltano_assets.sandbox.company_hosts import ClearbitAnswer, DomainFacts, RawHost, Registrant
from meltano_assets.sandbox.company_products import offer_products, sell
from meltano_assets.sandbox.company_progress import remember_progress
from meltano_assets.sandbox.company_sales import OPPORTUNITY_TRAPS, Record, trap_opportunity
from meltano_assets.sandbox.company_words import Organisation, dice
from meltano_assets.sandbox.company_world import World, scaled

#: Suffixes whose registries tell the registrant's organisation.
OPEN_REGISTRIES = ("com", "net", "org", "io", "co.uk", "com.au", "com.br", "fr", "nl")


def build_start(world: World) -> None:
    """Fill the world for day 0."""
    rng = dice(f"{world.seed}:start")
    users = [world.put(0, "User", user) for user in world.sales.users(rng, scaled(30, world.scale))]
    owners = [user for user in users if user["IsActive"]]
    _accounts(world, rng, owners)
    _unknown_companies(world, rng)
    _nameless_hosts(world, rng)
    _people(world, rng, owners)
    _campaigns_and_deals(world, rng, owners)
    _existing_hosts(world, rng, owners)
    _first_pings(world)


def website(rng: random.Random, domain: str) -> str:
    """A website as sales people type it."""
    return rng.choice(
        [
            f"http://www.{domain}",
            f"https://{domain}/",
            domain,
            f"www.{domain}",
            f"HTTP://WWW.{domain.upper()}/en/",
            f"https://www.{domain}/about?x=1",
            f"http://{domain}",
        ]
    )


def facts_for(
    rng: random.Random, organisation: Organisation, provider: str, **more: int
) -> DomainFacts:
    """What is known of the organisation's domain when that provider is the first to know it."""
    suffix = organisation.domain.split(".", 1)[1]
    if provider == "whois" and suffix not in OPEN_REGISTRIES:
        provider = "clearbit"
    clearbit: ClearbitAnswer = "miss"
    registrant: Registrant = "redacted"
    if provider in ("discoverorg", "clearbit"):
        clearbit = "hit" if provider == "clearbit" or rng.random() < 0.5 else "miss"
        if rng.random() < 0.6 and suffix in OPEN_REGISTRIES:
            registrant = "organisation"
    elif provider == "whois":
        registrant = "organisation"
    elif provider == "pending":
        clearbit = "pending"
    elif provider == "unregistered":
        registrant = "unregistered"
    return DomainFacts(
        domain=organisation.domain,
        organisation=organisation,
        discoverorg=provider == "discoverorg",
        clearbit=clearbit,
        registrant=registrant,
        **more,
    )


def _install(
    world: World, rng: random.Random, domain: str, count: int, *, edition: str = "CE"
) -> None:
    for label in hosts.host_labels(rng, count):
        world.installations.append(
            world.installation_maker.for_domain(rng, domain, label, edition=edition)
        )


def _accounts(world: World, rng: random.Random, owners: list[Record]) -> None:
    scale = world.scale
    sales = world.sales

    def owner() -> object:
        return rng.choice(owners)["Id"]

    def add(
        organisation: Organisation, site: str | None, type_: str | None, **more: object
    ) -> Record:
        record = sales.account(rng, organisation, owner=owner(), type_=type_, website=site, **more)  # type: ignore[arg-type]
        world.account_organisations[str(record["Id"])] = organisation
        return world.put(0, "Account", record)

    def pinging(type_: str | None) -> tuple[Organisation, Record]:
        organisation = world.new_organisation()
        account = add(organisation, website(rng, organisation.domain), type_, filled=0.45)
        provider = rng.choices(
            ["discoverorg", "clearbit", "whois", "none"], weights=[55, 25, 8, 12]
        )[0]
        world.facts[organisation.domain] = facts_for(rng, organisation, provider)
        world.matches.expected[organisation.domain] = (str(account["Id"]), "domain")
        return organisation, account

    for i in range(scaled(38, scale)):
        organisation, account = pinging("Customer")
        edition = "EEP" if i % 3 == 0 else "CE"
        _install(world, rng, organisation.domain, rng.choice([1, 1, 2, 4]), edition=edition)
        world.traps["customer_domains"].append(organisation.domain)
    for _ in range(scaled(60, scale)):
        organisation, _account = pinging(
            rng.choice(["Prospect", "Prospect - CE User", "Partner", None])
        )
        _install(world, rng, organisation.domain, rng.choice([1, 1, 1, 2, 3]))

    # Only the name connects the host to the account: no website, another spelling of the name.
    for i in range(scaled(12, scale)):
        organisation = world.new_organisation()
        name = [
            organisation.name.upper(),
            f"{organisation.name}, Inc",
            f" {organisation.name}  GmbH ",
            organisation.legal_name,
        ][i % 4]
        account = add(
            organisation, None, "Customer" if i % 3 == 0 else "Prospect", name=name, filled=0.3
        )
        provider = "clearbit" if i % 2 else "discoverorg"
        world.facts[organisation.domain] = facts_for(rng, organisation, provider)
        world.matches.expected[organisation.domain] = (str(account["Id"]), "name")
        _install(world, rng, organisation.domain, 1)

    # Two accounts of one website, once with www and once without: a person must decide.
    for i in range(scaled(6, scale)):
        organisation = world.new_organisation()
        first = add(organisation, f"http://www.{organisation.domain}", "Prospect")
        second = add(
            organisation,
            f"{organisation.domain}/",
            "Customer" if i % 2 else "Prospect",
            name=f"{organisation.name} (old)",
        )
        world.facts[organisation.domain] = facts_for(rng, organisation, "discoverorg")
        world.matches.ambiguous[organisation.domain] = [str(first["Id"]), str(second["Id"])]
        _install(world, rng, organisation.domain, 1)

    # Deleted accounts are no matches, though their website is right.
    for _ in range(scaled(6, scale)):
        organisation = world.new_organisation()
        account = add(organisation, f"https://{organisation.domain}", "Prospect")
        account["IsDeleted"] = True
        world.facts[organisation.domain] = facts_for(rng, organisation, "discoverorg")
        world.matches.deleted[organisation.domain] = str(account["Id"])
        _install(world, rng, organisation.domain, 1)

    # The excluded giant is an account, too; the other one is not.
    microsoft = _giant(world, "microsoft.com")
    add(microsoft, "http://www.microsoft.com", "Prospect", name="Microsoft")

    while len(world.live["Account"]) < scaled(400, scale):
        organisation = world.new_organisation()
        site = website(rng, organisation.domain) if rng.random() < 0.75 else None
        add(organisation, site, sales.account_type(rng))

    accounts = [a for a in world.live["Account"].values() if not a["IsDeleted"]]
    for account in rng.sample(accounts, len(accounts) // 7):
        parent = rng.choice(accounts)
        if parent is not account and parent["ParentId"] is None:
            account["ParentId"] = parent["Id"]
    _break_cycles(world)


def _break_cycles(world: World) -> None:
    accounts = world.live["Account"]
    for account in accounts.values():
        seen = {account["Id"]}
        parent = account["ParentId"]
        while parent is not None:
            if parent in seen:
                account["ParentId"] = None
                break
            seen.add(parent)
            parent = accounts[str(parent)]["ParentId"]


def _giant(world: World, domain: str) -> Organisation:
    base = world.new_organisation()
    name = hosts.EXCLUDED[domain]
    return Organisation(
        base.number, name, f"{name}, Inc.", domain, "United States", "Seattle", "Technology",
        150_000, 90_000_000_000, "+1 425 555 0100", f"{name} is very large.", 1975,
    )  # fmt: skip


def _unknown_companies(world: World, rng: random.Random) -> None:
    shares = {
        "discoverorg": 40,
        "clearbit": 30,
        "whois": 16,
        "none": 14,
        "pending": 6,
        "unregistered": 5,
    }
    for provider, count in shares.items():
        for i in range(scaled(count, world.scale)):
            organisation = world.new_organisation()
            wait = {"clearbit_from_day": 1 + i % 3} if provider == "pending" else {}
            world.facts[organisation.domain] = facts_for(rng, organisation, provider, **wait)
            many = 6 if i == 0 and provider == "discoverorg" else rng.choice([1, 1, 1, 2])
            _install(world, rng, organisation.domain, many)
    for domain in hosts.EXCLUDED:
        world.facts[domain] = DomainFacts(
            domain,
            _giant(world, domain),
            discoverorg=True,
            clearbit="hit",
            registrant="organisation",
        )
        _install(world, rng, domain, 2)
    for domain in hosts.FREE_MAIL_DOMAINS:
        owner = Organisation(
            -1, "Mail for Everyone", "Mail for Everyone LLC", domain, "United States", "Reno",
            "Technology", 900, 1, "+1 415 555 0199", "Free mail.", 1999,
        )  # fmt: skip
        registrant: Registrant = "organisation" if domain.endswith(".com") else "redacted"
        world.facts[domain] = DomainFacts(domain, owner, clearbit="invalid", registrant=registrant)
        _install(world, rng, domain, 1)
    for domain in hosts.HOSTING_DOMAINS:
        world.facts[domain] = DomainFacts(domain, None, registrant="unregistered")
        world.installations.append(world.installation_maker.for_domain(rng, domain, ""))
    for spelling in hosts.IDN_DOMAINS:
        base = world.new_organisation()
        domain = spelling.encode("idna").decode()
        name = spelling.split(".")[0].capitalize()
        organisation = Organisation(
            base.number, name, f"{name} GmbH", domain, "Germany", "Jena", base.industry,
            base.employees, base.revenue, base.phone, f"{name} makes machines.", base.founded,
        )  # fmt: skip
        world.facts[domain] = facts_for(rng, organisation, "discoverorg")
        for label in ("git", "code"):
            world.installations.append(
                world.installation_maker.for_domain(
                    rng, domain, label, spelling=spelling if label == "git" else None
                )
            )
    # Silent for longer than the sixty days that count.
    for _ in range(scaled(8, world.scale)):
        organisation = world.new_organisation()
        world.facts[organisation.domain] = facts_for(rng, organisation, "discoverorg")
        world.traps["old_domains"].append(organisation.domain)
        world.installations.append(
            world.installation_maker.for_domain(rng, organisation.domain, "git", is_old=True)
        )


def _nameless_hosts(world: World, rng: random.Random) -> None:
    """Internal names, addresses and garbage."""
    make = world.installation_maker.make

    def add(host: RawHost, *, sends_hostname: bool = True) -> None:
        if "://" in host.raw:
            world.installations.append(make(None, (host,)))
        else:
            world.installations.append(make(host, (), sends_hostname=sends_hostname))

    for raw in hosts.INTERNAL_RAW:
        add(RawHost(raw, "internal", None, None))
    for i, raw in enumerate(hosts.PRIVATE_IPS):
        is_bare = "://" not in raw and "[" not in raw
        add(RawHost(raw, "internal", None, None), sends_hostname=not (is_bare and i % 2))
    for raw in hosts.INVALID_RAW:
        add(RawHost(raw, "invalid", None, None))
    named = [domain for domain in world.matches.expected if world.facts[domain].discoverorg][:3]
    world.facts[hosts.ACCESS_PROVIDER_DOMAIN] = DomainFacts(hosts.ACCESS_PROVIDER_DOMAIN, None)
    for i, (raw, address) in enumerate(hosts.PUBLIC_IPV4.items()):
        add(RawHost(raw, "ipv4", address, address), sends_hostname=bool(i % 2) or "." not in raw)
        if i < len(named):
            world.reverse_names[address] = f"gw{i + 1}.{named[i]}"
        elif i < 6:
            dashed = address.replace(".", "-")
            world.reverse_names[address] = f"host-{dashed}.dyn.{hosts.ACCESS_PROVIDER_DOMAIN}"
    for i, (raw, address) in enumerate(hosts.PUBLIC_IPV6.items()):
        add(RawHost(raw, "ipv6", address, address))
        if i == 0 and named:
            world.reverse_names[address] = f"v6.{named[0]}"
    for i in range(scaled(14, world.scale)):
        address = f"{rng.randrange(91, 95)}.{20 + i % 200}.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}"
        add(RawHost(address, "ipv4", address, address), sends_hostname=i % 3 == 0)
        if i % 2:
            dashed = address.replace(".", "-")
            world.reverse_names[address] = f"{dashed}.dyn.{hosts.ACCESS_PROVIDER_DOMAIN}"


def _people(world: World, rng: random.Random, owners: list[Record]) -> None:
    accounts = list(world.live["Account"].values())
    for i in range(scaled(900, world.scale)):
        account = rng.choice(accounts)
        domain = world.account_organisations[str(account["Id"])].domain
        contact = world.sales.contact(
            rng, account, domain, rng.choice(owners)["Id"], rng.uniform(-700, -1)
        )
        contact["IsDeleted"] = i % 60 == 59
        world.put(0, "Contact", contact)
    for i in range(scaled(2500, world.scale)):
        organisation = (
            world.account_organisations[str(rng.choice(accounts)["Id"])]
            if rng.random() < 0.35
            else world.new_organisation()
        )
        lead = world.sales.lead(
            rng, organisation, rng.choice(owners)["Id"], rng.uniform(-540, -0.5)
        )
        lead["IsDeleted"] = i % 80 == 79
        world.put(0, "Lead", lead)


def _campaigns_and_deals(world: World, rng: random.Random, owners: list[Record]) -> None:
    sales = world.sales
    campaigns = sales.campaigns(rng, owners, scaled(40, world.scale))
    for campaign in campaigns:
        world.put(0, "Campaign", campaign)
    children = [c for c in campaigns if c["ParentId"] and c["Status"] != "Planned"] or campaigns
    accounts = [a for a in world.live["Account"].values() if not a["IsDeleted"]]

    def owner() -> object:
        return rng.choice(owners)["Id"]

    for name in OPPORTUNITY_TRAPS:
        for _ in range(scaled(2, min(world.scale, 1))):
            trap = trap_opportunity(sales, rng, rng.choice(accounts), owner(), name)
            world.traps[f"opportunity_{name}"].append(str(trap["Id"]))
            world.put(0, "Opportunity", trap)
    while len(world.live["Opportunity"]) < scaled(1200, world.scale):
        source = rng.choice(children)["Id"] if rng.random() < 0.45 else None
        record = sales.opportunity(
            rng, rng.choice(accounts), owner(), source, rng.uniform(-545, -0.6)
        )
        record["IsDeleted"] = rng.random() < 0.03
        world.put(0, "Opportunity", record)
    offer_products(world)
    for deal in list(world.live["Opportunity"].values()):
        sell(world, 0, deal)
        remember_progress(world, deal)

    # Converted leads point to the account, contact and deal that came of them.
    contacts = {c["AccountId"]: c for c in world.live["Contact"].values() if not c["IsDeleted"]}
    deals = [o for o in world.live["Opportunity"].values() if not o["IsDeleted"]]
    for lead in list(world.live["Lead"].values())[::7]:
        deal = rng.choice(deals)
        created = max(str(lead["CreatedDate"]), str(deal["CreatedDate"]))
        contact = contacts.get(deal["AccountId"])
        lead.update(
            IsConverted=True,
            Status="Qualified",
            ConvertedDate=created[:10],
            ConvertedAccountId=deal["AccountId"],
            ConvertedContactId=contact["Id"] if contact else None,
            ConvertedOpportunityId=deal["Id"] if rng.random() < 0.7 else None,
        )
        for name in ("LastModifiedDate", "SystemModstamp"):
            lead[name] = max(str(lead[name]), created)

    leads = list(world.live["Lead"].values())
    people = list(world.live["Contact"].values())
    taken: set[tuple[object, object]] = set()
    while len(world.live["CampaignMember"]) < scaled(3000, world.scale):
        is_lead = rng.random() < 0.7
        person = rng.choice(leads if is_lead else people)
        campaign_record = rng.choice(children)
        key = (campaign_record["Id"], person["Id"])
        if key in taken:
            continue
        taken.add(key)
        member = sales.campaign_member(rng, campaign_record, person, is_lead, rng.uniform(-520, -1))
        member["IsDeleted"] = rng.random() < 0.01
        world.put(0, "CampaignMember", member)


def _existing_hosts(world: World, rng: random.Random, owners: list[Record]) -> None:
    """Host records that were there before this product; none carries its external id."""
    by_domain: dict[str, str] = {d: match[0] for d, match in world.matches.expected.items()}
    known = [
        (host.clean_full_domain, item)
        for item in world.installations
        for host in item.raw_hosts[:1]
        if host.clean_domain in by_domain and item.number % 2
    ]
    total = scaled(150, world.scale)
    for full_domain, item in known[: total // 2]:
        domain = item.raw_hosts[0].clean_domain
        _host_record(
            world,
            rng,
            owners,
            name=str(full_domain),
            account=by_domain[str(domain)],
            users=item.users,
        )
        world.traps["existing_host_names"].append(str(full_domain))
    accounts = [a for a in world.live["Account"].values() if not a["IsDeleted"]]
    i = 0
    while len(world.live["Host__c"]) < total:
        i += 1
        account = rng.choice(accounts)
        organisation = world.account_organisations[str(account["Id"])]
        name = f"legacy{i}.{organisation.domain}"
        record = _host_record(
            world, rng, owners, name=name, account=str(account["Id"]), users=rng.randrange(1, 300)
        )
        record["IsDeleted"] = rng.random() < 0.05


def _host_record(
    world: World,
    rng: random.Random,
    owners: list[Record],
    *,
    name: str,
    account: str,
    users: int,
) -> Record:
    created = rng.uniform(-300, -70)
    stats = f'{{"ci_builds":{rng.randrange(900)},"projects":{rng.randrange(90)}}}'
    return world.put(
        0,
        "Host__c",
        {
            "Id": world.sales.new_id("Host__c"),
            "Name": name,
            "Account__c": account,
            "Original_Hostname__c": name,
            "Host_Users__c": users,
            "Installation_Type__c": rng.choice(["omnibus", "docker", None]),
            "Last_Ping__c": world.clock.date(max(created, -64)),
            "Raw_Usage_Stats__c": stats,
            "Raw_Version_Stats__c": None,
            "Version_Link__c": f"https://version.gitlab.com/servers/{rng.randrange(1, 90_000)}",
            "GitLab_Version__c": rng.choice(hosts.RELEASES[:4]),
            "GitLab_Edition__c": "CE",
            "License_Ids__c": None,
            "Mattermost_Enabled__c": rng.random() < 0.2,
            "Host_Data_Source__c": rng.choice(["DiscoverOrg", "Clearbit", "WHOIS"]),
            "Meltano_Id__c": None,
            "OwnerId": rng.choice(owners)["Id"],
            **world.sales.audit(created, rng.uniform(created, -65)),
        },
    )


def _first_pings(world: World) -> None:
    usage: list[Record] = []
    checks: list[Record] = []
    senders = max(1, sum(1 for item in world.installations if item.usage_raw))
    checkers = max(1, sum(1 for item in world.installations if item.referers))
    usage_count = max(2, round(scaled(3000, world.scale) / senders))
    check_count = max(2, round(scaled(5000, world.scale) / checkers))
    for item in world.installations:
        some_usage, some_checks = hosts.initial_pings(item, world.clock, usage_count, check_count)
        usage += some_usage
        checks += some_checks
    rows: dict[str, list[Record]] = {}
    for table, pings in (("usage_data", usage), ("version_checks", checks)):
        pings.sort(key=lambda row: (str(row["updated_at"]), str(row["host_id"])))
        # Late arrivals: an old ping is inserted among the newest ones.
        for i in range(40, len(pings), 97):
            pings.append(pings.pop(i))
        rows[table] = world.number_pings(table, pings)
    # Values that JSON and Postgres allow and many readers do not expect.
    if len(rows["usage_data"]) > 20:
        odd = rows["usage_data"][7]
        odd["stats"] = str(odd["stats"])[:-1] + ', "note": "nul \\u0000 inside"}'
        world.traps["nul_in_stats"].append(str(odd["id"]))
        licensed = [row for row in rows["usage_data"] if row["license_id"] is not None][:1]
        for row in licensed:
            row["license_expires_at"] = "infinity"
            world.traps["infinite_license"].append(str(row["id"]))
    rows["hosts"] = [
        host_row(world, item.number, item.raw_hosts[0].raw) for item in world.installations
    ]
    rows["versions"] = [
        {
            "id": i + 1,
            "version": release,
            "vulnerable": i < 4,
            "created_at": world.clock.at(-500 + 40 * i),
            "updated_at": world.clock.at(-500 + 40 * i),
        }
        for i, release in enumerate(hosts.RELEASES)
    ]
    world.pings[0] = rows


def host_row(world: World, number: int, raw: str, day: float = -29.0) -> Record:
    """The version service's own record of an installation."""
    return {
        "id": number,
        "url": raw,
        "created_at": world.clock.at(day),
        "updated_at": world.clock.at(day),
        "star": number % 50 == 0,
        "fortune_rank": None,
        "in_salesforce": False,
    }
