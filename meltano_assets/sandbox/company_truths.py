"""What must come out of the company's data, known from how it was built."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING

from meltano_assets.sandbox import company_hosts as hosts
from meltano_assets.sandbox.company_acquisition_truths import acquisition_truths, department_costs
from meltano_assets.sandbox.company_billing_truths import billing_truths, self_serve_truths
from meltano_assets.sandbox.company_hiring import HiringDesk
from meltano_assets.sandbox.company_marketing import MarketingDesk
from meltano_assets.sandbox.company_marketing_truths import marketing_truths
from meltano_assets.sandbox.company_netsuite_truths import book_truths
from meltano_assets.sandbox.company_sales import (
    OPPORTUNITY_TRAPS,
    Record,
    is_sales_accepted,
    source_group,
)
from meltano_assets.sandbox.company_staff import staff_truths

if TYPE_CHECKING:
    from meltano_assets.sandbox.company import Company


def build_truths(company: Company, day: int) -> dict[str, object]:
    """The truths of that day, as plain values."""
    company.build(day)
    state = company.world.salesforce_state(day)
    return {
        "day": day,
        "now": company.now(day).isoformat(),
        "totals": _totals(company, day, state),
        "sales_accepted_opportunities": _accepted(company, state),
        "campaign_spend": _spend(state),
        "hosts": _hosts(company, day),
        "enrichment": _enrichment(company, day),
        "accounts": _accounts(company, day, state),
        "tickets": _tickets(company, day),
        "books": _books(company, day),
        "acquisition": acquisition_truths(state, company.billing(day)),
        "marketing": _marketing(company, day),
        "hiring": _hiring(company, day),
        "billing": billing_truths(company.billing(day), company.now(day).date()),
        "self_serve": self_serve_truths(company.stripe(day)),
        "hostile_values": {
            "usage_data_nul_in_stats": company.world.traps["nul_in_stats"],
            "usage_data_infinite_license": company.world.traps["infinite_license"],
        },
    }


def _totals(company: Company, day: int, state: dict[str, dict[str, Record]]) -> dict[str, object]:
    ids: dict[str, set[object]] = {"usage_data": set(), "version_checks": set(), "hosts": set()}
    for past in range(day + 1):
        for table, seen in ids.items():
            seen.update(row["id"] for row in company.world.pings[past][table])
    return {
        "salesforce": {
            name: {
                "all": len(records),
                "deleted": sum(1 for r in records.values() if r.get("IsDeleted")),
            }
            for name, records in state.items()
        },
        "version": {table: len(seen) for table, seen in ids.items()},
    }


def _accepted(company: Company, state: dict[str, dict[str, Record]]) -> dict[str, object]:
    deals = [o for o in state["Opportunity"].values() if is_sales_accepted(o)]

    def count(values: list[object]) -> dict[str, int]:
        return dict(sorted(Counter("null" if v is None else str(v) for v in values).items()))

    dates = [date.fromisoformat(str(o["Sales_Accepted_Date__c"])) for o in deals]
    return {
        "total": len(deals),
        "by_source_group": count([source_group(o) for o in deals]),
        "by_source": count([o["SQL_Source__c"] for o in deals]),
        "by_lead_source": count([o["LeadSource"] for o in deals]),
        "by_type": count([o["Type"] for o in deals]),
        "by_segment": count([o["Sales_Segmentation__c"] for o in deals]),
        "by_campaign": count([o["CampaignId"] for o in deals]),
        "by_month": count([d.strftime("%Y-%m") for d in dates]),
        "by_week": count([(d - timedelta(days=d.weekday())).isoformat() for d in dates]),
        "traps": {
            name: {"counts": counts, "ids": company.world.traps[f"opportunity_{name}"]}
            for name, (_values, counts) in OPPORTUNITY_TRAPS.items()
        },
    }


def _spend(state: dict[str, dict[str, Record]]) -> dict[str, object]:
    campaigns = [c for c in state["Campaign"].values() if not c["IsDeleted"]]
    costs = {str(c["Id"]): c["ActualCost"] for c in campaigns if c["ActualCost"] is not None}
    total = round(sum(float(str(cost)) for cost in costs.values()), 2)
    return {"total": total, "by_campaign": costs, "campaigns": len(campaigns)}


def _hosts(company: Company, day: int) -> dict[str, object]:
    raw_hosts = company.raw_hosts(day)
    records: dict[str, object] = {}
    for item in company.installations(day):
        if item.last_ping <= -60:
            continue
        for host in item.raw_hosts[:1]:
            if host.kind != "domain":
                continue
            records[str(host.clean_full_domain)] = {
                "clean_domain": host.clean_domain,
                "gitlab_version": item.version(item.last_release),
                "edition": item.edition,
                "uuid": item.uuid if item.usage_raw else None,
                "has_usage_ping": item.usage_raw is not None,
                "last_ping_at": company.clock.at(item.last_ping).isoformat()
                if item.usage_raw
                else None,
            }
    return {
        "by_kind": dict(sorted(Counter(host.kind for host in raw_hosts.values()).items())),
        "raw": {
            host.raw: {
                "kind": host.kind,
                "clean_domain": host.clean_domain,
                "clean_full_domain": host.clean_full_domain,
            }
            for host in raw_hosts.values()
        },
        "records": records,
        "addresses": {**hosts.PUBLIC_IPV4, **hosts.PUBLIC_IPV6},
        "reverse_names": company.reverse_names,
        "old_domains": company.world.traps["old_domains"],
        "never_sent_to_providers": [h.raw for h in raw_hosts.values() if h.kind == "internal"],
        "existing_host_names": company.world.traps["existing_host_names"],
    }


def _seen_domains(company: Company, day: int) -> set[str]:
    return {
        host.clean_domain
        for host in company.raw_hosts(day).values()
        if host.clean_domain and host.kind == "domain"
    }


def _enrichment(company: Company, day: int) -> dict[str, object]:
    seen = _seen_domains(company, day)
    facts = {name: f for name, f in company.domain_facts(day).items() if name in seen}
    return {
        "provider_hits": {
            name: provider
            for name, known in facts.items()
            if (provider := known.provider_on(day)) is not None
        },
        "company_names": {
            name: company_name
            for name, known in facts.items()
            if (company_name := known.company_name_on(day)) is not None
        },
        "clearbit_pending": [
            n for n, known in facts.items() if known.clearbit_on(day) == "pending"
        ],
        "unknown_everywhere": [n for n, known in facts.items() if known.provider_on(day) is None],
    }


def _accounts(company: Company, day: int, state: dict[str, dict[str, Record]]) -> dict[str, object]:
    matches = company.world.matches
    seen = _seen_domains(company, day)
    facts = company.domain_facts(day)
    never = [*hosts.FREE_MAIL_DOMAINS, *hosts.HOSTING_DOMAINS, *hosts.EXCLUDED]
    never += [d for d in (*matches.expected, *matches.ambiguous) if d in seen]
    never += [*company.world.traps["old_domains"], hosts.ACCESS_PROVIDER_DOMAIN]
    never += [d for d in sorted(seen) if facts[d].provider_on(day) is None]
    never = list(dict.fromkeys(never))
    create = {
        domain: {
            "name": facts[domain].company_name_on(day),
            "provider": facts[domain].provider_on(day),
        }
        for domain in sorted(seen)
        if domain not in never
    }
    updates: dict[str, object] = {}
    for domain, (account_id, _method) in matches.expected.items():
        known = facts[domain]
        account = state["Account"][account_id]
        organisation = known.organisation
        if organisation is None or known.provider_on(day) not in ("discoverorg", "clearbit"):
            continue
        values = {
            "Industry": organisation.industry,
            "Description": organisation.description,
            "NumberOfEmployees": organisation.employees,
        }
        empty = {name: value for name, value in values.items() if account[name] is None}
        if empty:
            updates[account_id] = empty
    return {
        "domains_to_create": create,
        "domains_never_to_create": never,
        "expected_matches": {
            domain: {"account_id": account_id, "method": method}
            for domain, (account_id, method) in matches.expected.items()
            if domain in seen
        },
        "ambiguous_domains": matches.ambiguous,
        "deleted_account_domains": matches.deleted,
        "customer_domains": company.world.traps["customer_domains"],
        "fields_to_fill": updates,
    }


def _tickets(company: Company, day: int) -> dict[str, object]:
    live: dict[object, Record] = {}
    for past in range(day + 1):
        live.update({t["id"]: t for t in company.zendesk_tickets(past)})
    return {
        "total": len(live),
        "deleted": sum(1 for t in live.values() if t["status"] == "deleted"),
        "by_status": dict(sorted(Counter(str(t["status"]) for t in live.values()).items())),
        "by_organization": dict(Counter(str(t["organization_id"]) for t in live.values())),
    }


def _books(company: Company, day: int) -> dict[str, object]:
    books, now = company.books(day), company.now(day)
    state = books.state(now)
    today = (now - timedelta(hours=1)).date()
    return {
        **book_truths(books, now),
        "costs_by_department": department_costs(state),
        "headcount": staff_truths(state["Employee"], today),
    }


def _marketing(company: Company, day: int) -> dict[str, object]:
    desk = MarketingDesk(company)
    desk.build(day)
    return marketing_truths(desk)


def _hiring(company: Company, day: int) -> dict[str, object]:
    desk = HiringDesk(company)
    desk.build(day)
    return desk.truths(int(company.now(day).timestamp() * 1000))
