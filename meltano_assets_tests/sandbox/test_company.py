"""The company: the same from the same seed, coherent, and with truths that can be recounted."""

from __future__ import annotations

import ipaddress
import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import tldextract

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.company_hosts import EXCLUDED, FREE_MAIL_DOMAINS, RELEASES
from meltano_assets.sandbox.company_sales import KEY_PREFIXES
from meltano_assets.sandbox.company_words import OrganisationMaker

TODAY = date(2025, 6, 1)
LAST_DAY = 6
Records = dict[str, dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def company() -> Company:
    """A company at full scale that has lived for some days."""
    made = Company(1, 1.0, TODAY)
    made.build(LAST_DAY)
    return made


@pytest.fixture(scope="module")
def state(company: Company) -> Records:
    """All records at the end."""
    return company.salesforce_state(LAST_DAY)


def everything(company: Company, days: int) -> str:
    """All that the company hands over, as text."""
    return json.dumps(
        [
            [
                company.salesforce_records(day),
                company.pings(day).usage_data,
                company.pings(day).version_checks,
                company.zendesk_tickets(day),
                company.truths_on(day),
            ]
            for day in range(days + 1)
        ],
        default=str,
        sort_keys=True,
    )


def test_same_seed_gives_the_same_bytes_and_another_seed_another_company() -> None:
    first = everything(Company(3, 0.1, TODAY), 3)
    assert first == everything(Company(3, 0.1, TODAY), 3)
    assert first != everything(Company(4, 0.1, TODAY), 3)


def test_days_do_not_depend_on_the_order_of_asking() -> None:
    forward, backward = Company(3, 0.1, TODAY), Company(3, 0.1, TODAY)
    early = [everything_of_day(forward, day) for day in (0, 1, 2)]
    late = [everything_of_day(backward, day) for day in (2, 1, 0)][::-1]
    assert early == late


def everything_of_day(company: Company, day: int) -> str:
    """What one day hands over."""
    parts = [company.salesforce_records(day), company.truths_on(day), company.domain_facts(day)]
    return json.dumps(parts, default=str, sort_keys=True)


def test_truths_that_count_do_not_depend_on_the_date() -> None:
    one, other = Company(1, 0.2, TODAY).truths, Company(1, 0.2, date(2026, 2, 27)).truths
    for name in ("total", "by_source_group", "by_lead_source", "by_segment", "by_campaign"):
        assert (
            one["sales_accepted_opportunities"][name] == other["sales_accepted_opportunities"][name]
        )  # type: ignore[index]
    for name in ("accounts", "enrichment", "totals", "campaign_spend"):
        assert one[name] == other[name]


def test_default_scale_has_the_promised_size(company: Company) -> None:
    totals: Any = company.truths["totals"]
    counts = {name: count["all"] for name, count in totals["salesforce"].items()}
    assert counts["Account"] == 400
    assert counts["Contact"] == 900
    assert counts["Lead"] == 2500
    assert counts["Campaign"] == 46
    assert counts["CampaignMember"] == 3000
    assert counts["Opportunity"] == 1200
    assert counts["User"] == 30
    assert counts["Host__c"] == 150
    assert 2700 <= totals["version"]["usage_data"] <= 3300
    assert 4500 <= totals["version"]["version_checks"] <= 5500
    assert 650 <= len(company.raw_hosts(0)) <= 850
    assert len(company.zendesk_tickets(0)) == 1500


def test_ids_have_their_prefix_and_checksum_and_are_unique(state: Records) -> None:
    for name, records in state.items():
        for record_id in records:
            assert len(record_id) == 18
            assert record_id.startswith(KEY_PREFIXES[name])
            for part, letter in enumerate(record_id[15:]):
                five = record_id[part * 5 : part * 5 + 5]
                upper = sum(1 << i for i, c in enumerate(five) if c.isupper())
                assert letter == "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[upper]


def test_every_reference_leads_to_a_record(state: Records) -> None:
    references = {
        "Account": {"ParentId": "Account", "OwnerId": "User"},
        "Contact": {"AccountId": "Account", "OwnerId": "User"},
        "Lead": {
            "ConvertedAccountId": "Account",
            "ConvertedContactId": "Contact",
            "ConvertedOpportunityId": "Opportunity",
            "OwnerId": "User",
        },
        "Campaign": {"ParentId": "Campaign", "OwnerId": "User"},
        "CampaignMember": {"CampaignId": "Campaign", "LeadId": "Lead", "ContactId": "Contact"},
        "Opportunity": {"AccountId": "Account", "CampaignId": "Campaign", "OwnerId": "User"},
        "User": {"ManagerId": "User", "UserRoleId": "UserRole"},
        "UserRole": {"ParentRoleId": "UserRole"},
        "OpportunityLineItem": {"PricebookEntryId": "PricebookEntry"},
        "PricebookEntry": {"Product2Id": "Product2", "Pricebook2Id": "Pricebook2"},
        "OpportunityContactRole": {"OpportunityId": "Opportunity", "ContactId": "Contact"},
        "AccountHistory": {"AccountId": "Account", "CreatedById": "User"},
        "Task": {"AccountId": "Account", "OwnerId": "User"},
        "Event": {"AccountId": "Account", "OwnerId": "User"},
        "zqu__ZProduct__c": {"zqu__Product__c": "Product2"},
        "zqu__ProductRatePlan__c": {"zqu__ZProduct__c": "zqu__ZProduct__c"},
        "zqu__ProductRatePlanCharge__c": {"zqu__ProductRatePlan__c": "zqu__ProductRatePlan__c"},
        "zqu__ProductRatePlanChargeTier__c": {
            "zqu__ProductRatePlanCharge__c": "zqu__ProductRatePlanCharge__c"
        },
        "zqu__Quote__c": {"zqu__Opportunity__c": "Opportunity", "zqu__Account__c": "Account"},
        "zqu__QuoteRatePlan__c": {
            "zqu__Quote__c": "zqu__Quote__c",
            "zqu__ProductRatePlan__c": "zqu__ProductRatePlan__c",
        },
        "zqu__QuoteRatePlanCharge__c": {
            "zqu__QuoteRatePlan__c": "zqu__QuoteRatePlan__c",
            "zqu__ProductRatePlanCharge__c": "zqu__ProductRatePlanCharge__c",
        },
        "Zuora__CustomerAccount__c": {
            "Zuora__Account__c": "Account",
            "Zuora__Parent__c": "Zuora__CustomerAccount__c",
        },
        "Zuora__Subscription__c": {
            "Zuora__Account__c": "Account",
            "Zuora__CustomerAccount__c": "Zuora__CustomerAccount__c",
        },
        "Zuora__SubscriptionProductCharge__c": {
            "Zuora__Subscription__c": "Zuora__Subscription__c",
            "Zuora__Product__c": "Zuora__Product__c",
        },
        "Host__c": {"Account__c": "Account", "OwnerId": "User"},
    }
    for name, fields in references.items():
        for record in state[name].values():
            for field, target in fields.items():
                assert record[field] is None or record[field] in state[target], (name, field)
            assert any(
                record[field] for record in state[name].values() for field in list(fields)[:1]
            ), name


def test_activities_lead_to_whoever_and_whatever_they_are_about(state: Records) -> None:
    known = {key: name for name, records in state.items() for key in records}
    for name in ("Task", "Event"):
        who = {known[str(r["WhoId"])] for r in state[name].values() if r["WhoId"]}
        what = {known[str(r["WhatId"])] for r in state[name].values() if r["WhatId"]}
        assert who == ({"Contact", "Lead"} if name == "Task" else {"Contact"})
        assert what == ({"Opportunity", "Campaign"} if name == "Task" else {"Opportunity"})
        assert {r["IsArchived"] for r in state[name].values()} == {True, False}
        assert any(r["IsDeleted"] for r in state[name].values())


def test_the_mirror_of_billing_has_one_record_for_all_versions(company: Company) -> None:
    mirrored = company.salesforce_state(LAST_DAY)["Zuora__Subscription__c"].values()
    mine = {s.name: s for s in company.billing(LAST_DAY).subscriptions}
    assert {r["Zuora__SubscriptionNumber__c"] for r in mirrored} == set(mine)
    for record in mirrored:
        subscription = mine[str(record["Zuora__SubscriptionNumber__c"])]
        assert record["Zuora__Status__c"] == subscription.status
        assert record["Zuora__Version__c"] == subscription.version


def test_parents_form_no_circle(state: Records) -> None:
    for account in state["Account"].values():
        seen, parent = {account["Id"]}, account["ParentId"]
        while parent is not None:
            assert parent not in seen
            seen.add(parent)
            parent = state["Account"][parent]["ParentId"]


def changed(record: dict[str, object]) -> str:
    """When a record last changed; a row of a field history never does."""
    return str(record.get("SystemModstamp") or record["CreatedDate"])


def test_changes_of_a_day_lie_in_that_day_and_after_the_quiet_hours(company: Company) -> None:
    for day in range(1, LAST_DAY + 1):
        begin = company.now(day - 1) + timedelta(hours=4)
        for records in company.salesforce_records(day).values():
            for record in records:
                stamp = datetime.strptime(changed(record), "%Y-%m-%dT%H:%M:%S.000%z")
                assert begin < stamp <= company.now(day)
        for row in (*company.pings(day).usage_data, *company.pings(day).version_checks):
            assert begin < row["updated_at"] <= company.now(day)  # type: ignore[operator]
        for ticket in company.zendesk_tickets(day):
            moment = datetime.fromtimestamp(int(str(ticket["generated_timestamp"])), UTC)
            assert begin < moment <= company.now(day)
    for records in company.salesforce_records(0).values():
        assert all(
            datetime.strptime(changed(r), "%Y-%m-%dT%H:%M:%S.000%z") <= company.now(0)
            for r in records
        )


def test_days_create_change_and_delete_everywhere(company: Company) -> None:
    known = set(company.salesforce_state(0)["Opportunity"])
    days = [company.salesforce_records(day)["Opportunity"] for day in range(1, LAST_DAY + 1)]
    records = [record for day in days for record in day]
    assert any(r["Id"] not in known for r in records)
    assert any(r["Id"] in known and not r["IsDeleted"] for r in records)
    assert any(r["IsDeleted"] for r in records)
    accounts = [
        r for day in range(1, LAST_DAY + 1) for r in company.salesforce_records(day)["Account"]
    ]
    assert any(r["IsDeleted"] for r in accounts)
    statuses = {t["status"] for day in range(1, LAST_DAY + 1) for t in company.zendesk_tickets(day)}
    assert {"new", "deleted"} <= statuses


def test_times_of_a_record_only_grow(company: Company) -> None:
    last: dict[str, str] = {}
    for day in range(LAST_DAY + 1):
        for records in company.salesforce_records(day).values():
            for record in records:
                assert str(record.get("CreatedDate", "")) <= changed(record)
                assert changed(record) > last.get(str(record["Id"]), "")
                last[str(record["Id"])] = changed(record)


def recounted(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sales-accepted opportunities by the words of the design, written out again."""
    found = []
    for o in records:
        if o["Sales_Accepted_Date__c"] is None or o["IsDeleted"]:
            continue
        if o["Type"] not in (None, "New Business", "Add-On Business"):
            continue
        if o["StageName"] in {"00-Pre Opportunity", "9-Unqualified", "10-Duplicate"}:
            continue
        if o["Amount"] < 0 or o["LeadSource"] == "Web Direct":
            continue
        found.append(o)
    return found


@pytest.mark.parametrize("day", [0, LAST_DAY])
def test_sales_accepted_opportunities_are_recounted(company: Company, day: int) -> None:
    truth: Any = company.truths_on(day)["sales_accepted_opportunities"]
    found = recounted(list(company.salesforce_state(day)["Opportunity"].values()))
    assert truth["total"] == len(found) > 300
    groups = {"SDR Generated": "SDR", "BDR Generated": "BDR", "AE Generated": "AE"}
    assert truth["by_source_group"] == Counter(
        groups.get(o["SQL_Source__c"], "Other") for o in found
    )
    assert sum(truth["by_week"].values()) == sum(truth["by_month"].values()) == len(found)


def test_every_opportunity_trap_counts_as_it_says(company: Company, state: Records) -> None:
    truth: Any = company.truths["sales_accepted_opportunities"]
    counted = {o["Id"] for o in recounted(list(state["Opportunity"].values()))}
    assert len(truth["traps"]) == 17
    for name, trap in truth["traps"].items():
        assert trap["ids"], name
        for record_id in trap["ids"]:
            assert (record_id in counted) == trap["counts"], name


def test_an_accepted_date_lies_before_its_creation_where_the_trap_says_so(
    company: Company, state: Records
) -> None:
    traps: Any = company.truths["sales_accepted_opportunities"]
    for record_id in traps["traps"]["accepted_before_created"]["ids"]:
        deal = state["Opportunity"][record_id]
        assert deal["Sales_Accepted_Date__c"] < deal["CreatedDate"][:10]


def test_spend_is_recounted(company: Company, state: Records) -> None:
    truth: Any = company.truths_on(LAST_DAY)["campaign_spend"]
    costs = [
        c["ActualCost"]
        for c in state["Campaign"].values()
        if not c["IsDeleted"] and c["ActualCost"] is not None
    ]
    assert truth["total"] == pytest.approx(sum(costs))
    assert len(truth["by_campaign"]) == len(costs)


def test_raw_hosts_of_the_pings_are_exactly_the_known_ones(company: Company) -> None:
    for day in (0, LAST_DAY):
        earliest = company.anchor - timedelta(days=60)
        seen = set()
        for past in range(day + 1):
            for row in company.pings(past).usage_data:
                if row["updated_at"] >= earliest:  # type: ignore[operator]
                    seen.add(row["hostname"] or row["source_ip"])
            for row in company.pings(past).version_checks:
                if row["updated_at"] >= earliest:  # type: ignore[operator]
                    seen.add(row["referer_url"])
        truth: Any = company.truths_on(day)["hosts"]
        assert seen == set(truth["raw"])
        assert sum(truth["by_kind"].values()) == len(seen)
    assert set(truth["by_kind"]) == {"domain", "internal", "invalid", "ipv4", "ipv6"}


def test_domains_are_registrable_and_addresses_public(company: Company) -> None:
    extract = tldextract.TLDExtract(
        suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
    )
    for host in company.raw_hosts(LAST_DAY).values():
        if host.kind == "domain":
            assert extract(str(host.clean_full_domain)).top_domain_under_public_suffix == (
                host.clean_domain
            )
        if host.kind in ("ipv4", "ipv6"):
            assert ipaddress.ip_address(str(host.clean_domain)).is_global
    assert all(ipaddress.ip_address(ip).is_global for ip in company.reverse_names)


def test_the_hosts_have_every_hostile_shape(company: Company) -> None:
    raw = set(company.raw_hosts(0))
    assert any(text.isupper() for text in raw)
    assert any(text.endswith(".") for text in raw)
    assert any("@" in text for text in raw)
    assert any(":8443" in text for text in raw)
    assert any(not text.isascii() for text in raw)
    assert any("[" in text for text in raw)
    assert any(text.startswith("http://0x") for text in raw)
    per_domain = Counter(h.clean_domain for h in company.raw_hosts(0).values())
    assert max(count for domain, count in per_domain.items() if domain) >= 6


def test_text_maximum_of_versions_is_not_the_latest_version(company: Company) -> None:
    usage = company.pings(0).usage_data
    latest: dict[object, dict[str, Any]] = {}
    texts: dict[object, list[str]] = {}
    for row in usage:
        key = row["uuid"]
        texts.setdefault(key, []).append(str(row["version"]))
        if key not in latest or row["updated_at"] > latest[key]["updated_at"]:
            latest[key] = row
    differing = [key for key, row in latest.items() if max(texts[key]) != row["version"]]
    assert len(differing) > 20
    records: Any = company.truths["hosts"]
    by_uuid = {r["uuid"]: r for r in records["records"].values() if r["uuid"]}
    for key, row in latest.items():
        if key in by_uuid:
            assert row["version"] == by_uuid[key]["gitlab_version"]
            assert row["updated_at"].isoformat() == by_uuid[key]["last_ping_at"]


def test_pings_arrive_out_of_order(company: Company) -> None:
    for rows in (company.pings(0).usage_data, company.pings(0).version_checks):
        moments = [row["updated_at"] for row in rows]
        assert moments != sorted(moments)  # type: ignore[type-var]
        assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))


def test_a_changed_ping_keeps_its_id(company: Company) -> None:
    first = {row["id"]: row for row in company.pings(0).version_checks}
    again = [row for row in company.pings(1).version_checks if row["id"] in first]
    assert len(again) == 1
    assert again[0]["updated_at"] > first[again[0]["id"]]["updated_at"]  # type: ignore[operator]


@pytest.mark.parametrize("day", [0, LAST_DAY])
def test_no_domain_is_both_to_create_and_not(company: Company, day: int) -> None:
    accounts: Any = company.truths_on(day)["accounts"]
    create, never = set(accounts["domains_to_create"]), set(accounts["domains_never_to_create"])
    assert not create & never
    assert len(create) > 80
    assert not create & set(accounts["customer_domains"])
    assert never >= set(EXCLUDED) | set(FREE_MAIL_DOMAINS)
    assert set(accounts["deleted_account_domains"]) <= create
    assert not set(accounts["ambiguous_domains"]) & set(accounts["expected_matches"])


def test_expected_matches_lead_to_living_accounts_that_fit(
    company: Company, state: Records
) -> None:
    accounts: Any = company.truths_on(LAST_DAY)["accounts"]
    methods = Counter()
    for domain, match in accounts["expected_matches"].items():
        account = state["Account"][match["account_id"]]
        assert not account["IsDeleted"]
        methods[match["method"]] += 1
        if match["method"] == "domain":
            assert domain in str(account["Website"]).lower()
        else:
            assert account["Website"] is None
            name = company.domain_facts(0)[domain].organisation.name  # type: ignore[union-attr]
            assert name.lower() in account["Name"].lower()
    assert methods["domain"] > 80
    assert methods["name"] >= 10


def test_ambiguous_domains_have_two_accounts(company: Company, state: Records) -> None:
    accounts: Any = company.truths["accounts"]
    assert len(accounts["ambiguous_domains"]) == 6
    for domain, ids in accounts["ambiguous_domains"].items():
        sites = [str(state["Account"][record_id]["Website"]) for record_id in ids]
        assert len(sites) == 2
        assert all(domain in site for site in sites)


def test_new_hosts_and_pending_answers_appear_with_the_days(company: Company) -> None:
    first: Any = company.truths_on(0)
    last: Any = company.truths_on(LAST_DAY)
    pending = first["enrichment"]["clearbit_pending"]
    assert pending
    assert not last["enrichment"]["clearbit_pending"]
    assert set(pending) <= set(last["accounts"]["domains_to_create"])
    news = set(last["accounts"]["domains_to_create"]) - set(first["accounts"]["domains_to_create"])
    assert len(news - set(pending)) == LAST_DAY


def test_tickets_belong_to_customers(company: Company, state: Records) -> None:
    organizations = {o["id"]: o for o in company.zendesk_records()["organizations"]}
    users = {u["id"]: u for u in company.zendesk_records()["users"]}
    for ticket in company.zendesk_tickets(0):
        organization = organizations[ticket["organization_id"]]
        assert state["Account"][str(organization["external_id"])]["Name"] == organization["name"]
        assert users[ticket["requester_id"]]["organization_id"] == ticket["organization_id"]


def test_organisations_are_never_named_alike() -> None:
    maker = OrganisationMaker(1)
    made = [maker.make(number) for number in range(20_000)]
    assert len({organisation.name for organisation in made}) == len(made)
    assert len({organisation.domain for organisation in made}) == len(made)


def test_releases_are_in_true_order() -> None:
    numbers = [tuple(map(int, release.split("."))) for release in RELEASES]
    assert numbers == sorted(numbers)
    assert sorted(RELEASES) != list(RELEASES)


def test_a_company_without_size_is_refused() -> None:
    with pytest.raises(ValueError, match="scale"):
        Company(1, 0)


def test_tiny_companies_keep_every_trap() -> None:
    truths: Any = Company(1, 0.02, TODAY).truths
    assert all(trap["ids"] for trap in truths["sales_accepted_opportunities"]["traps"].values())
    assert truths["accounts"]["ambiguous_domains"]
    assert truths["accounts"]["deleted_account_domains"]
    assert truths["accounts"]["expected_matches"]
    assert truths["enrichment"]["clearbit_pending"]
