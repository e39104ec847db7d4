"""The concepts of the common data model that every organisation keeps in fields of its own.

A concept is known by names that people give such fields and by values found in them; proposals
(``field_mapping.py``) go by both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "boolean", "numeric", "date"]


@dataclass(frozen=True, slots=True)
class Concept:
    """One thing that a field may hold: ``stream.name`` of the data model."""

    object: str
    stream: str
    name: str
    kind: Kind
    description: str
    aliases: tuple[str, ...] = ()
    values: tuple[str, ...] = ()


_SEGMENTS = ("SMB", "Mid-Market", "Large", "Strategic", "Enterprise", "Small", "Commercial")
_SOURCES = (
    "SDR Generated",
    "BDR Generated",
    "AE Generated",
    "Channel Generated",
    "Partner Generated",
    "Web Direct",
    "Marketing",
    "Outbound",
    "Inbound",
)
_LOSSES = ("Price", "No Decision", "Lost to Competitor", "No Budget", "Product Maturity", "Other")


def _account(name: str, kind: Kind, description: str, *aliases: str, **more: object) -> Concept:
    return Concept("Account", "accounts", name, kind, description, aliases, **more)  # type: ignore[arg-type]


def _opportunity(name: str, kind: Kind, description: str, *aliases: str, **more: object) -> Concept:
    return Concept("Opportunity", "opportunities", name, kind, description, aliases, **more)  # type: ignore[arg-type]


def _host(name: str, kind: Kind, description: str, *aliases: str) -> Concept:
    return Concept("Host__c", "hosts", name, kind, description, aliases)


CONCEPTS: tuple[Concept, ...] = (
    _account(
        "sales_segment",
        "text",
        "Size class of the customer: SMB, Mid-Market, Large, Strategic.",
        "sales segmentation",
        "segment",
        "account segment",
        "customer segment",
        "market segment",
        values=_SEGMENTS,
    ),
    _account(
        "is_using_ce",
        "boolean",
        "Whether the company is known to use the free edition.",
        "using ce",
        "uses community edition",
        "uses free edition",
        "free user",
    ),
    _account(
        "active_ce_user_count",
        "numeric",
        "Active users of the free edition.",
        "active ce users",
        "free users",
        "active community users",
    ),
    _account(
        "meltano_id",
        "text",
        "External id that the sync gives an account: its registrable domain.",
        "meltano external id",
    ),
    Concept(
        "Lead",
        "leads",
        "marketing_qualified_date",
        "date",
        "The day on which marketing qualified the lead.",
        ("mql date", "marketing qualified on", "qualified by marketing date", "date mql"),
    ),
    _opportunity(
        "sales_accepted_date",
        "date",
        "The day on which sales accepted the opportunity; it makes an SAO.",
        "sao date",
        "accepted date",
        "accepted by sales on",
        "sal date",
        "sales accepted on",
    ),
    _opportunity(
        "sales_qualified_date",
        "date",
        "The day on which sales qualified the opportunity.",
        "sqo date",
        "sql date",
        "qualified date",
        "sales qualified on",
    ),
    _opportunity(
        "sales_qualified_source",
        "text",
        "Who found the opportunity: the seed source_groups groups its values.",
        "sql source",
        "generated source",
        "sales qualified lead source",
        "opportunity source",
        "sourced by",
        "source of pipeline",
        values=_SOURCES,
    ),
    _opportunity(
        "total_contract_value",
        "numeric",
        "Value of the whole contract, in the opportunity's currency.",
        "amount",
        "tcv",
        "contract value",
    ),
    _opportunity(
        "incremental_acv",
        "numeric",
        "Yearly value that the deal adds (IACV).",
        "iacv",
        "incremental annual contract value",
        "net new arr",
        "new acv",
        "incremental arr",
    ),
    _opportunity(
        "acv",
        "numeric",
        "Yearly value of the deal.",
        "annual contract value",
        "annual value",
        "arr",
    ),
    _opportunity(
        "sales_segment",
        "text",
        "Size class of the deal: SMB, Mid-Market, Large, Strategic.",
        "sales segmentation",
        "segment",
        "deal segment",
        "market segment",
        values=_SEGMENTS,
    ),
    _opportunity(
        "reason_for_loss",
        "text",
        "Why the deal was lost.",
        "loss reason",
        "closed lost reason",
        "lost reason",
        values=_LOSSES,
    ),
    _opportunity(
        "currency_code",
        "text",
        "Currency of the amounts; null where the organisation has one currency.",
        "currency iso code",
        "currency",
    ),
    _host("account_id", "text", "The account that the installation belongs to.", "account"),
    _host("meltano_id", "text", "External id of the sync: full host name or address."),
    _host("original_host_name", "text", "Host as the ping spelt it.", "original hostname"),
    _host("installation_type", "text", "How it was installed."),
    _host("raw_usage_stats", "text", "Counters of the latest usage ping."),
    _host("raw_version_stats", "text", "Request data of the latest version check."),
    _host("version_link", "text", "Link to the version server's page of the host."),
    _host("version", "text", "Version of the installation.", "gitlab version"),
    _host("edition", "text", "Edition of the installation.", "gitlab edition"),
    _host("license_ids", "text", "Licenses of the installation."),
    _host("company_source", "text", "Provider that named the company.", "host data source"),
    _host("is_mattermost_enabled", "boolean", "Whether chat is on.", "mattermost enabled"),
    _host("active_user_count", "numeric", "Active users.", "host users", "active users"),
    _host("last_ping_date", "date", "Day of the last ping.", "last ping"),
)
