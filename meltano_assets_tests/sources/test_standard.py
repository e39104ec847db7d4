"""What every source must do (X10), run over everything in ``SOURCES`` against the sandbox company."""
# ruff: noqa: SIM117 the connection's block and the claim about it stay apart

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError, PlatformError, RetriableError
from meltano_assets.extraction import OpenSource
from meltano_assets.sandbox.databases import DATABASES
from meltano_assets.sources import SOURCES
from meltano_assets.sources.base import Source
from meltano_assets.sources.records import ARROW_TYPES
from meltano_assets.streams import Batch, Bookmark, ReadOptions, Stream
from meltano_assets_tests.clients.local_server import FakeClock, free_port
from meltano_assets_tests.sources.conftest import Vendors

STREAMS = [
    pytest.param(source, stream, id=stream.key) for source in SOURCES for stream in source.streams
]
#: The fault that breaks a read in the middle, by source; and which requests it is for.
BREAKS = {
    "netsuite": ("truncate", {"match": "/services/", "times": 2}),
    "salesforce": ("truncate", {"match": "/quer", "times": 2}),
    "zendesk": ("truncate", {"match": "/incremental/", "times": 2}),
    "lever": ("truncate", {"match": "/opportunities", "times": 2}),
    "zuora": ("truncate", {"match": "/v1/file", "times": 2}),
    "marketo": ("truncate", {"match": "/file.json", "times": 2}),
    "stripe": ("truncate", {"match": "/v1/charges", "times": 2}),
    **dict.fromkeys(DATABASES, ("terminate", {})),
}
#: What a record shows of another one, whose changes do not change it.
LOOKED_UP = {
    "salesforce.campaign_members": (
        "lead_or_contact_owner_id", "lead_source", "company_or_account", "title", "salutation", "city",
        "state", "country", "description", "do_not_call", "has_opted_out_of_email",
        "has_opted_out_of_fax",
    )
}  # fmt: skip
#: Streams of which the vendor does not tell what is gone: it stays until a full refresh.
UNTOLD_DELETES = frozenset(
    {
        "lever.applications",
        "lever.offers",
        "marketo.program_members",
        "netsuite.applications",
        "netsuite.expenses",
        "netsuite.transaction_items",
        "netsuite.transaction_lines",
        "zendesk.satisfaction_ratings",
    }
)

each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
each_stream = pytest.mark.parametrize(("source", "stream"), STREAMS)
each_incremental = pytest.mark.parametrize(
    ("source", "stream"),
    [item for item in STREAMS if item.values[1].replication_key],  # type: ignore[union-attr]
)
first_stream = pytest.mark.parametrize(
    ("source", "stream"),
    [pytest.param(source, source.streams[0], id=source.name) for source in SOURCES],
)

Rows = dict[tuple[object, ...], dict[str, object]]


def now() -> datetime:
    return datetime.now(UTC)


def read(
    source: Source,
    stream: Stream,
    settings: dict[str, str],
    bookmark: Bookmark | None = None,
    options: ReadOptions | None = None,
) -> list[Batch]:
    with source.connect(settings) as reader:
        return list(reader.read(stream, bookmark, options or ReadOptions(), now=now()))


@pytest.fixture(scope="module")
def read_before() -> dict[tuple[str, int], list[Batch]]:
    """Whole streams by name and day, filled when first wanted."""
    return {}


@pytest.fixture
def whole(
    source: Source,
    stream: Stream,
    vendors: Vendors,
    read_before: dict[tuple[str, int], list[Batch]],
) -> list[Batch]:
    """All of the stream, read once on a day of the company."""
    today = (stream.key, vendors.days)
    if today not in read_before:
        read_before[today] = read(source, stream, vendors.settings(source.name))
    return read_before[today]


def rows(stream: Stream, batches: list[Batch]) -> Rows:
    """The last version of each record, by its key; documents by what they mean."""
    documents = [column.name for column in stream.columns if column.type == "jsonb"]
    return {
        tuple(row[name] for name in stream.primary_key): {
            **row,
            **{name: orjson.loads(row[name]) for name in documents if row.get(name) is not None},
        }
        for batch in batches
        for row in batch.records.to_pylist()
    }


def known_to(everything: Rows, found: Rows) -> Rows:
    """Without deleted records of which a whole read knows nothing: some vendors tell of them once."""
    return {
        key: row for key, row in found.items() if key in everything or not row.get("_deleted_at")
    }


def last_bookmark(batches: list[Batch]) -> Bookmark | None:
    return next((batch.bookmark for batch in reversed(batches) if batch.bookmark), None)


# -- declarations --


@each_source
def test_a_source_declares_itself(source: Source) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", source.name)
    assert source.title
    assert source.description
    assert source.kinds
    assert len(source.cron.split()) == 5
    names = [variable.name for variable in source.variables]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in names)
    assert all(variable.description for variable in source.variables)
    assert any(variable.is_secret for variable in source.variables)
    assert {stream.source for stream in source.streams} == {source.name}


@each_stream
def test_a_stream_declares_itself(source: Source, stream: Stream) -> None:
    assert stream.description
    assert stream.primary_key
    assert stream.replication_key or stream.disposition == "replace"
    for column in stream.columns:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", column.name)
        assert len(column.name.encode()) <= 63
        assert not column.name.startswith("_")


# -- reading --


@each_stream
def test_records_have_keys_and_fit_the_columns(
    source: Source, stream: Stream, whole: list[Batch]
) -> None:
    found = [row for batch in whole for row in batch.records.to_pylist()]
    assert found
    assert len(rows(stream, whole)) == len(found)
    keys = [*stream.primary_key, *filter(None, [stream.replication_key])]
    assert all(row[name] is not None for row in found for name in keys)
    for batch in whole:
        assert set(batch.records.schema.names) - {"_deleted_at"} == {
            column.name for column in stream.columns
        }
        for column in stream.columns:
            kind = batch.records.schema.field(column.name).type
            wanted = ARROW_TYPES[column.type]
            assert kind == wanted or (pa.types.is_decimal(kind) and pa.types.is_decimal(wanted)), (
                column.name
            )
    texts = [row[column.name] for row in found for column in stream.columns]
    assert any(text is not None for text in texts)


@each_stream
def test_the_vendors_own_count_agrees(source: Source, stream: Stream, vendors: Vendors) -> None:
    with source.connect(vendors.settings(source.name)) as reader:
        batches = list(reader.read(stream, None, ReadOptions(), now=now()))
        theirs = reader.count(stream)
        assert reader.requests > 0
    live = [row for row in rows(stream, batches).values() if not row.get("_deleted_at")]
    assert theirs is None or theirs == len(live)


SWEPT = [
    item
    for item in STREAMS
    if item.values[1].sweep or item.id == "salesforce.campaign_members"  # type: ignore[union-attr]
]


@pytest.mark.parametrize(("source", "stream"), SWEPT)
def test_a_sweep_reads_the_keys_of_the_live_records(
    source: Source, stream: Stream, vendors: Vendors, whole: list[Batch]
) -> None:
    """X4: from any position on, and alone where the vendor gives them alone."""
    settings = vendors.settings(source.name)
    found = rows(stream, whole)
    live = {key for key, row in found.items() if not row.get("_deleted_at")}
    with source.connect(settings) as reader:
        opened = OpenSource(reader)
        pages = list(opened.read_keys(stream, None, now=now()))
        keys = [tuple(row.values()) for page in pages for row in page.records.to_pylist()]
        assert set(keys) == live
        assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
        if opened.can_resume_keys(stream) and len(pages) > 1:
            rest = list(opened.read_keys(stream, pages[0].position, now=now()))
            first = {tuple(row.values()) for row in pages[0].records.to_pylist()}
            assert {tuple(r.values()) for p in rest for r in p.records.to_pylist()} >= live - first
            assert len(rest) == len(pages) - 1


@each_source
def test_a_second_read_yields_only_news(source: Source, vendors: Vendors) -> None:
    """All streams of a source at once: the company has only so many days to live."""
    settings = vendors.settings(source.name)
    streams = [stream for stream in source.streams if stream.replication_key]
    before: dict[str, Rows] = {}
    bookmarks: dict[str, Bookmark | None] = {}
    for stream in streams:
        first = read(source, stream, settings)
        before[stream.name] = rows(stream, first)
        bookmarks[stream.name] = bookmark = last_bookmark(first)
        assert bookmark is not None, stream.key
        again = rows(stream, read(source, stream, settings, bookmark))
        again = known_to(before[stream.name], again)
        since = bookmark.as_time()
        assert since
        assert all(before[stream.name][key] == row for key, row in again.items()), stream.key
        assert all(
            moment(row[str(stream.replication_key)]) >= since - stream.lookback
            for row in again.values()
        ), stream.key

    vendors.advance(1)
    for stream in streams:
        news = rows(stream, read(source, stream, settings, bookmarks[stream.name]))
        everything = rows(stream, read(source, stream, settings))
        known = known_to(everything, {**before[stream.name], **news})
        for row in [*known.values(), *everything.values()]:
            for name in LOOKED_UP.get(stream.key, ()):
                row.pop(name, None)
        if stream.key in UNTOLD_DELETES:
            known = {key: row for key, row in known.items() if key in everything}
        assert known == everything, stream.key


@each_incremental
def test_a_limit_is_kept(
    source: Source, stream: Stream, vendors: Vendors, whole: list[Batch]
) -> None:
    batches = read(source, stream, vendors.settings(source.name), options=ReadOptions(limit=7))
    rest = read(source, stream, vendors.settings(source.name), last_bookmark(batches))
    everything = rows(stream, whole)
    assert sum(batch.records.num_rows for batch in batches) == min(7, len(everything))
    found = {**rows(stream, batches), **rows(stream, rest)}
    assert known_to(everything, found) == everything


@each_incremental
def test_a_span_is_kept_and_moves_nothing(
    source: Source, stream: Stream, vendors: Vendors, whole: list[Batch]
) -> None:
    settings = vendors.settings(source.name)
    everything = rows(stream, whole)
    moments = sorted(moment(row[str(stream.replication_key)]) for row in everything.values())
    start, end = moments[len(moments) // 4], moments[len(moments) * 3 // 4]
    batches = read(source, stream, settings, options=ReadOptions(start=start, end=end))
    assert known_to(everything, rows(stream, batches)) == {
        key: row
        for key, row in everything.items()
        if start <= moment(row[str(stream.replication_key)]) < end
    }
    assert last_bookmark(batches) is None


def moment(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    assert isinstance(value, int)
    return datetime.fromtimestamp(value, UTC)


@each_stream
def test_a_full_refresh_reads_everything_again(
    source: Source, stream: Stream, vendors: Vendors, whole: list[Batch]
) -> None:
    settings, before = vendors.settings(source.name), last_bookmark(whole)
    again = read(source, stream, settings, before, ReadOptions(full_refresh=True))
    assert rows(stream, again) == rows(stream, whole)
    after = last_bookmark(again)
    assert (after and after.value) == (before and before.value)


@each_incremental
def test_a_vendor_with_nothing_yields_nothing(
    source: Source, stream: Stream, vendors: Vendors
) -> None:
    long_ago = ReadOptions(end=datetime(1990, 1, 1, tzinfo=UTC))
    batches = read(source, stream, vendors.settings(source.name), options=long_ago)
    assert sum(batch.records.num_rows for batch in batches) == 0
    assert last_bookmark(batches) is None


# -- trouble --


@first_stream
def test_a_read_that_breaks_in_the_middle_loses_nothing(
    source: Source, stream: Stream, vendors: Vendors
) -> None:
    settings = vendors.settings(source.name)
    everything = rows(stream, read(source, stream, settings))
    kind, options = BREAKS[source.name]
    kept: list[Batch] = []
    with source.connect(settings) as reader:
        batches = reader.read(stream, None, ReadOptions(), now=now())
        if source.name in DATABASES:
            kept.append(next(batches))  # sessions that are open are cut
        vendors.arm(source.name, kind, **options)
        try:
            kept.extend(batches)
        except RetriableError as error:
            assert error.source == source.name
    vendors.clear_faults()
    committed = last_bookmark(kept)
    rest = read(source, stream, settings, committed)
    assert known_to(everything, {**rows(stream, kept), **rows(stream, rest)}) == everything


#: Zendesk's API tokens do not expire.
TROUBLE = [
    *(("salesforce", kind) for kind in ("throttle", "server_error", "drop", "expire_session")),
    *(("zendesk", kind) for kind in ("throttle", "unavailable", "drop", "html")),
    *(("lever", kind) for kind in ("throttle", "unavailable", "server_error", "drop")),
    *(("stripe", kind) for kind in ("throttle", "unavailable", "drop", "html")),
    *(("zuora", kind) for kind in ("throttle", "unavailable", "drop", "expire_session")),
    *(("netsuite", kind) for kind in ("throttle", "server_error", "drop", "expire_session")),
    *(("marketo", kind) for kind in ("throttle", "unavailable", "drop", "expire_session")),
]


@pytest.mark.parametrize(("name", "kind"), TROUBLE)
def test_passing_trouble_of_a_vendor_is_survived(name: str, kind: str, vendors: Vendors) -> None:
    source = next(source for source in SOURCES if source.name == name)
    stream = source.streams[0]
    settings = vendors.settings(name)
    everything = rows(stream, read(source, stream, settings))
    matches = {
        "salesforce": "/quer",
        "zendesk": "/incremental/",
        "zuora": "/v1/",
        "netsuite": "/services/",
        "marketo": "/bulk/",
        "stripe": "/v1/",
    }
    match = matches.get(name, "/opportunities")
    vendors.arm(name, kind, match=match, retry_after_seconds=0)
    assert rows(stream, read(source, stream, settings)) == everything


@pytest.mark.parametrize("name", ["salesforce", "zendesk"])
def test_a_page_repeated_for_ever_ends_in_a_clear_error(name: str, vendors: Vendors) -> None:
    source = next(source for source in SOURCES if source.name == name)
    stream = source.stream("campaign_members" if name == "salesforce" else "tickets")
    settings = vendors.settings(name)
    vendors.arm(name, "repeat_page", times=1000)
    kept: list[Batch] = []
    with source.connect(settings) as reader:
        try:
            kept.extend(reader.read(stream, None, ReadOptions(), now=now()))
        except RetriableError as error:
            assert "repeats the same page" in str(error)
        assert reader.requests < 20
    vendors.clear_faults()
    rest = read(source, stream, settings, last_bookmark(kept))
    everything = rows(stream, read(source, stream, settings))
    assert {**rows(stream, kept), **rows(stream, rest)} == everything


def broken_settings(source: Source, settings: dict[str, str]) -> Iterator[dict[str, str]]:
    """The settings with each secret wrong in turn."""
    for variable in source.variables:
        if not variable.is_secret or variable.setting not in settings:
            continue
        if variable.setting == "url":
            user, _, host = settings["url"].rpartition("@")
            yield {**settings, "url": f"{user.rpartition(':')[0]}:canary-wrong-{CANARY}@{host}"}
        else:
            yield {**settings, variable.setting: f"canary-wrong-{CANARY}"}


CANARY = "7f3a91"


@first_stream
def test_wrong_credentials_are_fatal_and_say_where_to_set_them(
    source: Source, stream: Stream, vendors: Vendors
) -> None:
    settings = vendors.settings(source.name)
    if source.name == "salesforce":
        ways = [
            {k: v for k, v in settings.items() if k not in {"username", "password"}},
            {k: v for k, v in settings.items() if not k.startswith("client_")},
        ]
    else:
        ways = [settings]
    tried = 0
    for way in ways:
        for broken in broken_settings(source, way):
            if broken.get("client_secret", "") == settings.get("client_secret"):
                continue  # the user's password is not used beside a connected app
            tried += 1
            with pytest.raises(FatalError) as info:
                read(source, stream, broken)
            assert (info.value.source, info.value.stream) == (source.name, stream.name)
            assert any(variable.name in str(info.value) for variable in source.variables)
            assert CANARY not in str(info.value)
            assert info.value.exit_code == 2
    assert tried


@each_source
def test_missing_settings_are_named(source: Source, vendors: Vendors) -> None:
    for variable in source.variables:
        if not variable.is_required:
            continue
        settings = vendors.settings(source.name)
        del settings[variable.setting]
        with pytest.raises(FatalError, match=variable.name), source.connect(settings):
            pass


@first_stream
def test_an_unreachable_vendor_is_retriable(
    source: Source, stream: Stream, vendors: Vendors
) -> None:
    settings = vendors.settings(source.name)
    nobody = f"127.0.0.1:{free_port()}"
    for name in ("base_url", "login_url"):
        if name in settings:
            settings[name] = f"http://{nobody}"
    if "url" in settings:
        settings["url"] = re.sub(r"@[^/]+/", f"@{nobody}/", settings["url"])
    with source.connect(settings, transport=FakeClock().transport()) as reader:
        with pytest.raises(RetriableError, match=nobody) as info:
            next(reader.read(stream, None, ReadOptions(), now=now()))
    assert info.value.exit_code == 1


@first_stream
def test_no_secret_appears_in_any_output(
    source: Source,
    stream: Stream,
    vendors: Vendors,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    settings = vendors.settings(source.name)
    secrets = [
        settings[variable.setting]
        for variable in source.variables
        if variable.is_secret and settings.get(variable.setting)
    ]
    if url := settings.get("url"):
        secrets.append(url.split("@", maxsplit=1)[0].rsplit(":", maxsplit=1)[1])
    shown: list[str] = []
    with source.connect(settings) as reader:
        shown.append(repr(reader))
        list(reader.read(stream, None, ReadOptions(limit=3), now=now()))
    if source.name not in DATABASES:
        vendors.arm(source.name, "html", times=20, status=400)
        try:
            read(source, stream, settings)
        except PlatformError as error:
            shown += [str(error), repr(error), repr(error.args)]
    captured = capfd.readouterr()
    shown += [caplog.text, captured.out, captured.err, repr(source)]
    for secret in secrets:
        assert all(secret not in text for text in shown)


@first_stream
def test_nothing_is_asked_before_the_first_record_is_wanted(source: Source, stream: Stream) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    settings = {
        "base_url": nobody,
        "client_id": "x",
        "client_secret": "x",
        "email": "x",
        "api_token": "x",
        "api_key": "x",
        "account": "1234567",
        **dict.fromkeys(("consumer_key", "consumer_secret", "token_id", "token_secret"), "x"),
        "url": "postgresql://x:x@127.0.0.1:1/x",
    }
    with source.connect(settings) as reader:
        reader.read(stream, None, ReadOptions(), now=now() - timedelta(days=1))
        assert reader.requests == 0
