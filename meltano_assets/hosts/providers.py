"""What a provider of company data is: one question at a time, and what the answer means.

A new provider is one file with ``VARIABLES``, a class of one method, its ``CACHE`` and its ``STEP``,
and one line in ``waterfall.py``. Deciding, spending and outages are not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from meltano_assets.errors import FatalError
from meltano_assets.streams import Column, Stream

if TYPE_CHECKING:
    from meltano_assets.clients.policy import Clock
    from meltano_assets.hosts.exchange import Limits

#: ``pending``: the vendor is still looking. Only ``hit`` and ``miss`` are answers.
Outcome = Literal["hit", "miss", "pending", "error"]
Settings = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said about one name, in the columns of its cache table."""

    outcome: Outcome
    columns: Mapping[str, str | None] = field(default_factory=dict)
    raw: object = None
    steps: tuple[str, ...] = ()


class Provider(Protocol):
    """One source of answers. ``ask`` may run in several threads at once."""

    @property
    def name(self) -> str:
        """Its name in settings, counts and messages."""
        ...

    @property
    def calls(self) -> int:
        """Requests sent so far."""
        ...

    def ask(self, name: str) -> Answer:
        """The answer about a domain or a public address.

        ProviderError: no answer this time. ProviderStopError: none for the rest of the run.
        """
        ...


Make = Callable[[Settings, "Clock", "Limits | None"], Provider]


@dataclass(frozen=True, slots=True)
class Step:
    """One provider's place in a waterfall.

    ``needs`` are keys of settings of which one must be there. After ``max_failures`` failures in a
    row it is left alone for the rest of the run.
    """

    name: str
    stream: Stream
    make: Make
    needs: tuple[str, ...]
    is_paid: bool = False
    threads: int = 16
    max_failures: int = 10


#: What is kept of a company, under the names of old.
COMPANY_COLUMNS = (
    "company_name",
    "company_legalname",
    "company_domain",
    "company_site",
    "company_industrygroup",
    "company_industry",
    "company_naics",
    "company_desc",
    "company_loc",
    "company_ein",
    "company_emp",
    "company_emp_range",
    "company_rev",
    "company_estrev",
    "company_type",
    "company_phone",
    "company_tech",
    "company_index",
    "provider_record_id",
)


def cache_stream(
    name: str,
    key: str,
    columns: Sequence[str],
    description: str,
    *,
    has_raw_answer: bool = True,
) -> Stream:
    """The table that keeps a provider's answers by what it was asked about."""
    raw = Column("raw_answer", "jsonb", "The provider's answer as it came.")
    return Stream(
        source="enrichment",
        name=name,
        description=description,
        columns=(
            Column(key, "text", "What was asked about."),
            *(Column(column, "text") for column in columns),
            Column(
                "outcome", "text", "hit, miss, pending or error; only the first two are cached."
            ),
            Column("last_update", "timestamptz", "When the provider was asked."),
            *([raw] if has_raw_answer else ()),
        ),
        primary_key=(key,),
        replication_key="last_update",
    )


def setting(settings: Settings, vendor: str, key: str) -> str:
    """One required setting of a vendor; FatalError names it."""
    value = settings[vendor].get(key)
    if not value:
        raise FatalError(f"the setting {key!r} is missing", source=vendor)
    return str(value)


def requests_per_minute(settings: Settings, vendor: str, default: int) -> int:
    """The vendor's rate budget: ``requests_per_minute`` of its settings, else the default."""
    given = str(settings.get(vendor, {}).get("requests_per_minute") or default)
    if not given.isdigit() or int(given) < 1:
        raise FatalError("requests_per_minute is not a number above 0", source=vendor)
    return int(given)


def as_text(value: object) -> str | None:
    """A vendor's value as the text of a cache column; nothing stays nothing."""
    if value is None or value in ("", [], {}):
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := as_text(item))) or None
    return str(value).replace("\x00", "").strip() or None


def dig(value: object, *path: str) -> object:
    """The value below nested objects; None wherever one is missing or something else."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value
