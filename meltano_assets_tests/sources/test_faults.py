"""Bad input, vendor by vendor: every road by which records come × everything that can go wrong on it.

A fault that passes costs no record. One that lasts ends in an error that names the stream, the
cause and the next step, shows no secret, after a bounded number of requests. Nothing waits: the
clock is a fake.
"""

from __future__ import annotations

import tracemalloc
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import pytest

from meltano_assets.clients.policy import MEBIBYTE
from meltano_assets.errors import (
    CredentialsError,
    FatalError,
    PlatformError,
    QuotaError,
    RetriableError,
)
from meltano_assets.sources import SOURCES
from meltano_assets.sources import salesforce as salesforce_source
from meltano_assets.sources.base import Reader
from meltano_assets.streams import Batch, Bookmark, ReadOptions, Stream
from meltano_assets_tests.clients.local_server import FakeClock
from meltano_assets_tests.sources.conftest import Vendors

Rows = dict[tuple[object, ...], dict[str, object]]
#: The answers that the tests allow; a page of the small company is far below.
BODY_LIMIT = 8 * MEBIBYTE


@dataclass(frozen=True)
class Road:
    """One way by which records come: a stream, and the requests that bring its records."""

    name: str
    source: str
    stream: str
    match: str
    settings: dict[str, str] = field(default_factory=dict, hash=False)
    bookmark: str | None = None

    @property
    def key(self) -> str:
        return f"{self.source}.{self.stream}"


ROADS = {
    road.name: road
    for road in (
        Road("zendesk export", "zendesk", "tickets", "/incremental/tickets"),
        Road("zendesk list", "zendesk", "group_memberships", "/group_memberships"),
        Road("lever", "lever", "opportunities", "/opportunities"),
        Road("stripe", "stripe", "charges", "/v1/charges"),
        Road("zuora job", "zuora", "accounts", "GET /v1/batch-query"),
        Road("zuora file", "zuora", "accounts", "/v1/file"),
        Road(
            "zuora zoql", "zuora", "contacts", "/v1/action",
            {"partner_id": ""}, "2020-01-01T00:00:00+00:00",
        ),
        Road("marketo job", "marketo", "leads", "/status.json"),
        Road("marketo file", "marketo", "leads", "/file.json"),
        Road("marketo list", "marketo", "campaigns", "/rest/"),
        Road("netsuite", "netsuite", "customers", "/services/", {"page_size": "20"}),
        Road("salesforce rest", "salesforce", "campaign_members", "/quer"),
        Road("salesforce bulk", "salesforce", "campaign_members", "/jobs/query/", {"bulk": "1"}),
        Road("salesforce results", "salesforce", "campaign_members", "/results", {"bulk": "1"}),
    )
}  # fmt: skip
each_road = pytest.mark.parametrize("road", ROADS.values(), ids=lambda road: road.name)
#: Where a login gives a session, and its address.
LOGINS = {
    "salesforce": "/services/oauth2/token",
    "zuora": "/oauth/token",
    "marketo": "/identity/oauth/token",
}
#: Vendors that say no within an answer, by a code, and promise no time.
WITHOUT_RETRY_AFTER = {"marketo", "netsuite", "lever"}


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendors' pages are small, so that every list has several."""
    monkeypatch.setattr("meltano_assets.sandbox.zendesk_exports.EXPORT_PAGE_SIZE", 40)
    monkeypatch.setattr("meltano_assets.sandbox.zendesk_pages.LIST_PAGE_SIZE", 2)
    monkeypatch.setattr("meltano_assets.sandbox.salesforce_query.MAX_PAGE", 60)
    monkeypatch.setattr("meltano_assets.sandbox.zuora.MAX_BATCH", 20)
    monkeypatch.setattr("meltano_assets.sandbox.marketo.batch_size", lambda query: 4)


@dataclass
class Read:
    """What became of a read."""

    stream: Stream
    batches: list[Batch]
    requests: int
    slept: list[float]
    error: PlatformError | None

    @cached_property
    def rows(self) -> Rows:
        return {
            tuple(row[name] for name in self.stream.primary_key): row
            for batch in self.batches
            for row in batch.records.to_pylist()
        }


def settings_of(road: Road, vendors: Vendors) -> dict[str, str]:
    return {**vendors.settings(road.source), **road.settings}


def read(road: Road, vendors: Vendors, settings: dict[str, str] | None = None) -> Read:
    """Read the road's stream; an error of ours is kept, any other fails the test."""
    source = next(source for source in SOURCES if source.name == road.source)
    stream = source.stream(road.stream)
    clock = FakeClock(datetime.now(UTC))
    given = settings_of(road, vendors) if settings is None else settings
    given = dict(given)
    transport = clock.transport(max_body_bytes=BODY_LIMIT)
    if road.source == "salesforce":
        threshold = 1 if given.pop("bulk", "") else 10**9
        opened: AbstractContextManager[Reader] = salesforce_source.connect(
            given, transport=transport, bulk_threshold=threshold
        )
    else:
        opened = source.connect(given, transport=transport)
    bookmark = Bookmark(road.bookmark) if road.bookmark else None
    found = Read(stream, [], 0, clock.slept, None)
    with opened as reader:
        try:
            batches = reader.read(stream, bookmark, ReadOptions(), now=datetime.now(UTC))
            found.batches.extend(batches)
        except PlatformError as error:
            found.error = error
        found.requests = reader.requests
    return found


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Rows]:
    """The rows of each road on a good day, filled when first wanted."""
    return {}


@pytest.fixture
def wanted(road: Road, vendors: Vendors, undisturbed: dict[str, Rows]) -> Rows:
    if road.name not in undisturbed:
        found = read(road, vendors)
        assert found.error is None
        undisturbed[road.name] = found.rows
    assert undisturbed[road.name]
    return undisturbed[road.name]


def secrets_of(vendors: Vendors, road: Road) -> set[str]:
    source = next(source for source in SOURCES if source.name == road.source)
    settings = vendors.settings(road.source)
    names = {variable.setting for variable in source.variables if variable.is_secret}
    return {settings[name] for name in names if settings.get(name)}


def check_error(found: Read, road: Road, vendors: Vendors, kind: type[PlatformError]) -> str:
    """The error says where, why and what to do, and shows no secret; its text."""
    error = found.error
    assert error is not None
    assert isinstance(error, kind), error
    assert error.place == road.key, error
    assert error.hint, f"no next step: {error}"
    text = f"{error} {error.args!r}"
    assert not [secret for secret in secrets_of(vendors, road) if secret in text]
    assert len(text) < 1200
    # Polling ends by the clock, after hours.
    assert found.requests < (100 if sum(found.slept) < 3600 else 500)
    return str(error)


# -- what may befall any answer --

PASSING: dict[str, tuple[str, dict[str, Any]]] = {
    "throttle": ("throttle", {"retry_after_seconds": 7, "with_retry_after": "true"}),
    "throttle without a time": ("throttle", {"with_retry_after": "false"}),
    "unavailable": ("unavailable", {}),
    "server error": ("server_error", {}),
    "html of a gateway": ("html", {}),
    "html as if all were well": ("html", {"status": 200}),
    "drop": ("drop", {}),
    "truncate": ("truncate", {}),
    "garbage": ("garbage", {}),
    "drip": ("drip", {"seconds": 0.05}),
}


@each_road
@pytest.mark.parametrize("name", PASSING)
def test_what_passes_costs_no_record(road: Road, name: str, wanted: Rows, vendors: Vendors) -> None:
    kind, options = PASSING[name]
    vendors.arm(road.source, kind, match=road.match, **options)
    found = read(road, vendors)
    if road.name == "zuora file" and name in BREAKS_A_DOWNLOAD:
        check_error(found, road, vendors, RetriableError)
        found = read(road, vendors)
    assert found.error is None, found.error
    assert found.rows == wanted
    assert vendors.armed() == {}
    if kind == "throttle":
        assert found.slept
        assert max(found.slept) > 0.05
        if name == "throttle" and road.source not in WITHOUT_RETRY_AFTER:
            assert max(found.slept) >= 7


#: A download that is handed on while it comes is not begun again by the same read, but by the next.
BREAKS_A_DOWNLOAD = {"truncate", "garbage", "html as if all were well"}

LASTING: dict[str, tuple[str, dict[str, Any], type[PlatformError], tuple[str, ...]]] = {
    "throttle": ("throttle", {"retry_after_seconds": 5}, RetriableError, ("429", "606", "limit")),
    "throttle without a time": (
        "throttle", {"with_retry_after": "false"}, RetriableError, ("429", "606", "limit"),
    ),
    "throttle for a day": (
        "throttle", {"retry_after_seconds": 86_400}, RetriableError, ("429", "606", "limit"),
    ),
    "unavailable": ("unavailable", {}, RetriableError, ("503", "608")),
    "server error": ("server_error", {}, RetriableError, ("500",)),
    "html of a gateway": ("html", {}, RetriableError, ("502",)),
    "html as if all were well": ("html", {"status": 200}, RetriableError, ("cut off", "instead of the file")),
    "drop": ("drop", {}, RetriableError, ("cannot reach", "broke off")),
    "truncate": ("truncate", {}, RetriableError, ("broke off", "cut off")),
    "garbage": ("garbage", {}, RetriableError, ("cut off", "instead of the file")),
    "huge": ("huge", {"mebibytes": 12}, PlatformError, ("larger than", "cut off", "instead of the")),
    "gzip bomb": ("gzip_bomb", {}, PlatformError, ("larger than", "cut off", "instead of the")),
    "redirect to the metadata": (
        "redirect", {}, FatalError, ("redirected to http://169.254.169.254, which",),
    ),
    "redirect to this machine": (
        "redirect", {"location": "http://127.0.0.1:1/x"}, FatalError,
        ("redirected to http://127.0.0.1:1, which",),
    ),
}  # fmt: skip


@each_road
@pytest.mark.parametrize("name", LASTING)
def test_what_lasts_ends_in_a_clear_error(
    road: Road, name: str, wanted: Rows, vendors: Vendors
) -> None:
    kind, options, error, words = LASTING[name]
    vendors.arm(road.source, kind, times=None, match=road.match, **options)
    found = read(road, vendors)
    text = check_error(found, road, vendors, error)
    assert any(word in text for word in words), text
    assert sum(found.slept) < 1200


@each_road
def test_a_bomb_fills_no_memory_and_the_next_read_heals(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    vendors.arm(road.source, "gzip_bomb", times=None, match=road.match)
    tracemalloc.start()
    try:
        found = read(road, vendors)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found.error, PlatformError)
    assert peak < 100 * MEBIBYTE
    vendors.clear_faults()
    assert read(road, vendors).rows == wanted


# -- credentials --


def logins(road: Road, vendors: Vendors) -> int:
    return vendors.asked(road.source).get(LOGINS.get(road.source, ""), 0)


@each_road
def test_an_expired_token_is_renewed_exactly_once(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    before = logins(road, vendors)
    vendors.arm(road.source, "expire_session", match=road.match)
    found = read(road, vendors)
    if road.source in LOGINS:
        assert found.error is None, found.error
        assert found.rows == wanted
        assert logins(road, vendors) == before + 2
    elif road.source == "netsuite":  # every request is signed anew
        assert found.rows == wanted
    else:  # a key is for good: what is refused is not asked again
        text = check_error(found, road, vendors, FatalError)
        assert "the credentials were refused" in text
        assert found.slept == []


@each_road
def test_a_session_that_never_holds_is_fatal(road: Road, wanted: Rows, vendors: Vendors) -> None:
    before = logins(road, vendors)
    vendors.arm(road.source, "expire_session", times=None, match=road.match)
    found = read(road, vendors)
    text = check_error(found, road, vendors, PlatformError)
    assert "credentials" in text or "session" in text.lower()
    if road.source in LOGINS:
        assert isinstance(found.error, CredentialsError)
        assert logins(road, vendors) == before + 2


@each_road
def test_wrong_credentials_are_asked_for_once(road: Road, vendors: Vendors) -> None:
    right = settings_of(road, vendors)
    source = next(source for source in SOURCES if source.name == road.source)
    if road.source == "salesforce":
        right = {k: v for k, v in right.items() if k not in {"username", "security_token"}}
    tried = 0
    for variable in source.variables:
        name = variable.setting
        if not variable.is_secret or not right.get(name):
            continue
        if name == "password":  # beside a connected app not used
            continue
        tried += 1
        found = read(road, vendors, {**right, name: "canary-7f3a91"})
        text = check_error(found, road, vendors, FatalError)
        assert variable.name in text
        assert "canary-7f3a91" not in text
        assert found.slept == []
        assert found.requests <= 2
    assert tried


# -- pages --

PAGED = ("zendesk export", "zendesk list", "lever", "stripe", "zuora zoql", "marketo list",
         "netsuite", "salesforce rest")  # fmt: skip
CURSORS = {"zuora": "lose_locator", "netsuite": "expire_search"}


@pytest.mark.parametrize("road", [ROADS[name] for name in PAGED], ids=PAGED)
def test_a_page_that_comes_again_and_again_ends(road: Road, wanted: Rows, vendors: Vendors) -> None:
    vendors.arm(road.source, "repeat_page", times=None)
    found = read(road, vendors)
    text = check_error(found, road, vendors, RetriableError)
    assert "repeats the same page" in text


@pytest.mark.parametrize("road", [ROADS[name] for name in PAGED], ids=PAGED)
def test_a_place_that_the_vendor_forgot_is_for_another_run(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    vendors.arm(road.source, CURSORS.get(road.source, "lose_cursor"), times=None)
    found = read(road, vendors)
    check_error(found, road, vendors, RetriableError)
    vendors.clear_faults()
    assert read(road, vendors).rows == wanted


LINKED = ("zendesk export", "zendesk list", "salesforce rest")


@pytest.mark.parametrize("road", [ROADS[name] for name in LINKED], ids=LINKED)
def test_a_link_to_another_host_is_followed_at_the_vendors(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    vendors.arm(road.source, "foreign_link", times=None, host="http://127.0.0.1:1")
    found = read(road, vendors)
    assert found.error is None
    assert found.rows == wanted


# -- fields --

FIELDS: dict[str, tuple[str, str, str, object]] = {
    # road → its object, a field of it, the column, a value of another type
    "zendesk export": ("tickets", "priority", "priority", 7),
    "zendesk list": ("group_memberships", "default", "default", "maybe"),
    "lever": ("opportunities", "lastInteractionAt", "last_interaction_at", "yesterday"),
    "stripe": ("charge", "amount_refunded", "amount_refunded", "much"),
    "zuora zoql": ("Contact", "City", "city", 7),
    "marketo job": ("leads", "city", "city", 7),
    "netsuite": ("ustomer", "comments", "comments", "7"),
}


@pytest.mark.parametrize("road", [ROADS[name] for name in FIELDS], ids=FIELDS)
def test_a_field_that_disappears_costs_no_record(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    kind, name, column, _ = FIELDS[road.name]
    vendors.arm(road.source, "change_schema", match=kind, drop=[name])
    found = read(road, vendors)
    assert found.error is None, found.error
    assert found.rows.keys() == wanted.keys()
    assert all(row.get(column) is None for row in found.rows.values())


@pytest.mark.parametrize("road", [ROADS[name] for name in FIELDS], ids=FIELDS)
def test_a_field_that_changes_its_type_costs_no_record(
    road: Road, wanted: Rows, vendors: Vendors
) -> None:
    kind, name, column, value = FIELDS[road.name]
    vendors.arm(road.source, "change_schema", match=kind, retype={name: value})
    found = read(road, vendors)
    assert found.error is None, found.error
    assert found.rows.keys() == wanted.keys()
    said = {row[column] for row in found.rows.values()} - {None}
    assert said in ({value}, {str(value)})


@pytest.mark.parametrize("name", ["salesforce rest", "salesforce results"])
def test_a_field_of_salesforce_disappears(name: str, vendors: Vendors) -> None:
    column = "amount"
    road = Road("deals", "salesforce", "opportunities", "", ROADS[name].settings)
    wanted = read(road, vendors).rows
    vendors.arm("salesforce", "missing_field", field="Opportunity.Amount")
    found = read(road, vendors)
    assert found.error is None
    assert found.rows == {
        key: {name: value for name, value in row.items() if name != column}
        for key, row in wanted.items()
    }


@pytest.mark.parametrize("name", ["salesforce rest", "salesforce results"])
def test_a_field_of_salesforce_changes_its_type(name: str, vendors: Vendors) -> None:
    road = Road("deals", "salesforce", "opportunities", "", ROADS[name].settings)
    wanted = read(road, vendors).rows
    vendors.arm("salesforce", "change_type", field="Opportunity.Amount", value="viel, 'sehr'")
    found = read(road, vendors)
    assert found.error is None, found.error
    assert found.rows == {key: {**row, "amount": "viel, 'sehr'"} for key, row in wanted.items()}


def test_a_login_of_salesforce_that_brings_entities_is_refused(vendors: Vendors) -> None:
    road = ROADS["salesforce rest"]
    known = vendors.settings("salesforce")
    person = {
        k: v for k, v in known.items() if k not in {"client_id", "client_secret", "refresh_token"}
    }
    vendors.arm("salesforce", "entities", times=None, match="/services/Soap/")
    found = read(road, vendors, person)
    check_error(found, road, vendors, PlatformError)


# -- what each vendor has of its own --


def code(options: dict[str, Any]) -> list[str]:
    """What tells the cells of one kind apart."""
    return [options["code"]] if "code" in options else []


OWN: list[tuple[str, str, dict[str, Any], type[PlatformError], str]] = [
    ("zuora job", "job_error", {}, FatalError, "could not be executed"),
    ("zuora job", "job_aborted", {}, FatalError, "aborted"),
    ("zuora job", "job_stuck", {}, RetriableError, "is still executing"),
    ("zuora job", "lose_job", {}, RetriableError, ""),
    ("zuora file", "lose_file", {}, RetriableError, ""),
    ("zuora file", "cut_file", {}, RetriableError, "cut off"),
    ("zuora zoql", "concurrency", {}, RetriableError, "429"),
    ("zuora zoql", "inside_error", {"match": "/action"}, RetriableError, "LOCK_COMPETITION"),
    (
        "zuora job",
        "inside_error",
        {"code": "INVALID_VALUE", "match": "POST /v1/batch-query"},
        FatalError,
        "INVALID_VALUE",
    ),
    ("zuora zoql", "entities", {"match": "/describe"}, PlatformError, ""),
    ("marketo job", "server_error", {"code": "611", "match": "/bulk/"}, RetriableError, "611"),
    *(
        (
            "marketo list",
            "server_error",
            {"code": code, "match": "/campaigns"},
            RetriableError,
            code,
        )
        for code in ("502", "604", "608", "713")
    ),
    ("marketo list", "server_error", {"code": "606", "match": "/campaigns"}, RetriableError, "606"),
    ("marketo list", "server_error", {"code": "600", "match": "/campaigns"}, FatalError, "600"),
    ("marketo job", "server_error", {"code": "610", "match": "/bulk/"}, PlatformError, "610"),
    ("marketo job", "server_error", {"code": "603", "match": "/bulk/"}, FatalError, "603"),
    ("marketo job", "server_error", {"code": "1003", "match": "/create"}, FatalError, "1003"),
    ("marketo job", "quota", {}, QuotaError, "607"),
    ("marketo job", "too_many_at_once", {}, RetriableError, "615"),
    ("marketo job", "export_quota", {}, QuotaError, "export quota"),
    ("marketo job", "queue_full", {}, RetriableError, "is still Created"),
    ("marketo job", "job_failed", {}, FatalError, "Failed"),
    ("marketo job", "job_stuck", {}, RetriableError, "still Queued"),
    ("marketo file", "file_missing", {}, RetriableError, ""),
    ("marketo file", "file_error", {}, RetriableError, "instead of the file"),
    ("marketo file", "cut_file", {}, RetriableError, "cut off"),
    ("marketo file", "wrong_checksum", {}, RetriableError, "damaged"),
    ("netsuite", "not_success", {"code": "UNEXPECTED_ERROR"}, RetriableError, "UNEXPECTED_ERROR"),
    ("netsuite", "not_success", {"code": "INVALID_RCRD_TYPE"}, FatalError, "INVALID_RCRD_TYPE"),
    (
        "netsuite",
        "fault",
        {"name": "insufficientPermissionFault", "code": "INSUFFICIENT_PERMISSION"},
        FatalError,
        "INSUFFICIENT_PERMISSION",
    ),
    *(
        ("netsuite", "fault", {"name": f"{name}Fault", "code": code}, error, code)
        for name, code, error in (
            ("exceededConcurrentRequestLimit", "WS_REQUEST_BLOCKED", RetriableError),
            ("exceededRequestLimit", "EXCEEDED_REQUEST_LIMIT", RetriableError),
            ("unexpectedError", "UNEXPECTED_ERROR", RetriableError),
            ("invalidSession", "SESSION_TIMED_OUT", RetriableError),
            ("exceededUsageLimit", "SSS_USAGE_LIMIT_EXCEEDED", QuotaError),
            ("invalidCredentials", "INVALID_LOGIN_CREDENTIALS", FatalError),
            ("invalidAccount", "INVALID_ACCT", FatalError),
            ("exceededRecordCount", "MAX_RCRDS_EXCEEDED", FatalError),
            ("exceededRequestSize", "EXCEEDED_RQST_SIZE_LIMIT", FatalError),
            ("invalidVersion", "INVALID_VERSION", FatalError),
        )
    ),
    ("netsuite", "entities", {}, PlatformError, "entities"),
    ("zendesk export", "forbidden", {}, FatalError, "access was denied"),
    ("lever", "forbidden", {}, FatalError, "403"),
    ("stripe", "forbidden", {}, FatalError, "403"),
    ("salesforce rest", "request_limit", {}, QuotaError, "REQUEST_LIMIT_EXCEEDED"),
    ("salesforce rest", "concurrent_limit", {}, RetriableError, "CONCURRENT_REQUEST_LIMIT"),
    ("salesforce results", "lose_results", {}, RetriableError, ""),
    ("salesforce results", "cut_results", {}, RetriableError, "cut off"),
    ("salesforce results", "repeat_page", {}, RetriableError, "repeats the same page"),
]


@pytest.mark.parametrize(
    ("road", "kind", "options", "error", "words"),
    [
        pytest.param(ROADS[name], kind, options, *rest, id=" ".join([name, kind, *code(options)]))
        for name, kind, options, *rest in OWN
    ],
)
def test_what_a_vendor_has_of_its_own_ends_in_a_clear_error(
    road: Road,
    kind: str,
    options: dict[str, Any],
    error: type[PlatformError],
    words: str,
    wanted: Rows,
    vendors: Vendors,
) -> None:
    vendors.arm(road.source, kind, times=None, **options)
    found = read(road, vendors)
    text = check_error(found, road, vendors, error)
    assert words in text
    vendors.clear_faults()
    again = read(road, vendors)
    assert again.error is None, again.error
    assert again.rows == wanted
