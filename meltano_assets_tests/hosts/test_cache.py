"""H1 and the 30-day rule: which hosts are cleaned, which names are asked about."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from meltano_assets.errors import FatalError
from meltano_assets.hosts import cache, claims, clearbit, discoverorg, whois
from meltano_assets.hosts.providers import Answer
from meltano_assets.sources.version import VERSION_CHECKS
from meltano_assets.streams import Batch
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.load import load

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
WATERFALL = [
    (discoverorg.CACHE, True),
    (clearbit.CACHE, True),
    (whois.CACHE, True),
]


def make_pings(warehouse: Warehouse) -> None:
    with warehouse.connect() as connection:
        connection.execute(
            "create schema version;"
            "create table version.version_checks"
            " (id int primary key, referer_url text, updated_at timestamptz,"
            " _loaded_at timestamptz default now(), _deleted_at timestamptz);"
            "create table version.usage_data"
            " (id int primary key, hostname text, source_ip text, updated_at timestamptz,"
            " _loaded_at timestamptz default now(), _deleted_at timestamptz);"
        )


def ping(
    warehouse: Warehouse,
    number: int,
    *,
    referer: str | None = None,
    hostname: str | None = None,
    source_ip: str | None = None,
    at: datetime = NOW - timedelta(days=1),
) -> None:
    with warehouse.connect() as connection:
        if referer is not None:
            connection.execute(
                "insert into version.version_checks values (%s, %s, %s)", [number, referer, at]
            )
        else:
            connection.execute(
                "insert into version.usage_data values (%s, %s, %s, %s)",
                [number, hostname, source_ip, at],
            )


def cleaned(warehouse: Warehouse) -> dict[str, tuple[str, str | None, datetime]]:
    with warehouse.connect() as connection:
        return {
            raw: (kind, domain, at)
            for raw, kind, domain, at in connection.execute(
                "select raw_host, kind, clean_domain, last_pinged_at from hosts.cleaned_hosts"
            )
        }


def test_without_pings_it_says_what_to_load(warehouse: Warehouse) -> None:
    with pytest.raises(FatalError, match=r"no pings are loaded yet.*extract version"):
        cache.refresh_cleaned_hosts(warehouse, now=NOW)


def test_new_and_changed_hosts_are_cleaned_and_no_others(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).read == 0
    ping(warehouse, 1, referer="https://git.one.com/x")
    ping(warehouse, 2, hostname="git.two.com", source_ip="8.8.8.8")
    ping(warehouse, 3, source_ip="9.9.9.9")
    ping(warehouse, 4, hostname="old.com", at=NOW - timedelta(days=62))
    ping(warehouse, 5)
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).inserted == 3
    day = NOW - timedelta(days=1)
    assert cleaned(warehouse) == {
        "https://git.one.com/x": ("domain", "one.com", day),
        "git.two.com": ("domain", "two.com", day),
        "9.9.9.9": ("ipv4", "9.9.9.9", day),
    }
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).read == 0
    ping(warehouse, 6, hostname="git.two.com", at=NOW)
    ping(warehouse, 7, hostname="never.seen.com", at=NOW - timedelta(days=59))
    outcome = cache.refresh_cleaned_hosts(warehouse, now=NOW)
    assert (outcome.inserted, outcome.updated) == (1, 1)
    assert cleaned(warehouse)["git.two.com"][2] == NOW


def test_the_window_ends_at_the_latest_ping_but_not_in_the_future(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, hostname="a.com", at=NOW - timedelta(days=100))
    ping(warehouse, 2, hostname="b.com", at=NOW - timedelta(days=50))
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).inserted == 2
    ping(warehouse, 3, hostname="clock-ahead.com", at=NOW + timedelta(days=4000))
    ping(warehouse, 4, hostname="c.com", at=NOW - timedelta(days=61))
    cache.refresh_cleaned_hosts(warehouse, now=NOW, full_refresh=True)
    assert set(cleaned(warehouse)) == {"b.com", "clock-ahead.com"}


def test_urls_of_any_length_are_cleaned(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, referer="https://git.one.com/?q=" + "x" * 9_000)
    ping(warehouse, 2, hostname="🦊" * 9_000)
    outcome = cache.refresh_cleaned_hosts(warehouse, now=NOW)
    assert (outcome.inserted, outcome.quarantined) == (2, 0)
    kinds = {raw[:23]: kind for raw, (kind, _, _) in cleaned(warehouse).items()}
    assert kinds == {"https://git.one.com/?q=": "domain", "🦊" * 23: "invalid"}
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).read == 0


def test_one_raw_table_is_enough(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, hostname="a.com")
    with warehouse.connect() as connection:
        connection.execute("drop table version.version_checks")
    assert cache.refresh_cleaned_hosts(warehouse, now=NOW).inserted == 1


def checks(*numbers: int) -> Batch:
    """Version checks as the source delivers them, each of a host of its own."""
    at = datetime.now(UTC) - timedelta(hours=1)
    rows = [{"id": n, "referer_url": f"https://git.c{n}.com/", "updated_at": at} for n in numbers]
    kinds = [("id", pa.int32()), ("referer_url", pa.string())]
    schema = pa.schema([*kinds, ("updated_at", pa.timestamp("us", "UTC"))])
    return Batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def test_only_what_was_loaded_since_is_looked_at_however_late_it_committed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1: a load that began before one run of cleaning and ended after it is found by the next."""
    monkeypatch.setattr(cache, "LOADED_LOOKBACK_HOURS", 0)
    load(warehouse, VERSION_CHECKS, [checks(1, 2)])
    assert cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC)).inserted == 2

    def slow() -> Iterator[Batch]:
        yield checks(3)
        assert cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC)).read == 0
        yield checks(4)

    load(warehouse, VERSION_CHECKS, slow())
    assert cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC)).inserted == 2
    # What earlier runs have seen is not looked at again, or this one would come back.
    with warehouse.connect() as connection:
        connection.execute("delete from hosts.cleaned_hosts where raw_host like '%c1.com/'")
    load(warehouse, VERSION_CHECKS, [checks(5)])
    assert cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC)).inserted == 1


def test_what_a_killed_run_of_cleaning_left_is_found_by_the_next(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1: only a complete run says how far pings have been seen."""
    monkeypatch.setattr(cache, "LOADED_LOOKBACK_HOURS", 0)
    load(warehouse, VERSION_CHECKS, [checks(1)])
    cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC))
    load(warehouse, VERSION_CHECKS, [checks(2)])
    with monkeypatch.context() as broken:
        broken.setattr(cache, "clean_hosts", lambda column: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC))
    load(warehouse, VERSION_CHECKS, [checks(3)])
    assert cache.refresh_cleaned_hosts(warehouse, now=datetime.now(UTC)).inserted == 2


def test_a_load_that_holds_the_table_does_not_keep_cleaning_waiting_for_indexes(
    warehouse: Warehouse,
) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, hostname="a.com")
    with warehouse.connect() as connection:
        connection.execute("lock table version.usage_data in row exclusive mode")
        assert cache.refresh_cleaned_hosts(warehouse, now=NOW).inserted == 1
    cache.refresh_cleaned_hosts(warehouse, now=NOW)
    indexes = ["version.usage_data_pinged", "version.usage_data_loaded"]
    assert cache.existing_tables(warehouse, indexes) == set(indexes)


def test_an_index_that_a_killed_build_left_is_built_anew(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    cache.refresh_cleaned_hosts(warehouse, now=NOW)
    broken = "where indexrelid = 'version.usage_data_pinged'::regclass"
    with warehouse.connect() as connection:
        connection.execute(f"update pg_index set indisvalid = false {broken}")
    cache.refresh_cleaned_hosts(warehouse, now=NOW)
    with warehouse.connect() as connection:
        row = connection.execute(f"select indisvalid from pg_index {broken}").fetchone()
    assert row == (True,)


def test_a_large_table_is_indexed_while_it_is_written_to(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "INDEXED_IN_USE_FROM_BYTES", 0)
    make_pings(warehouse)
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, warehouse.connect(autocommit=True) as watcher:
        with warehouse.connect() as writer:
            writer.execute("insert into version.usage_data values (1, 'a.com', null, now())")
            cleaning = pool.submit(cache.refresh_cleaned_hosts, warehouse, now=NOW)
            while watcher.execute(waiting).fetchone() == (0,):
                assert not cleaning.done(), "the build waits for writers"
                time.sleep(0.02)
            watcher.execute("set lock_timeout = '200ms'")
            watcher.execute("insert into version.usage_data values (2, 'b.com', null, now())")
        cleaning.result()
        valid = watcher.execute(
            "select count(*) from pg_index where indisvalid and indrelid in"
            " ('version.usage_data'::regclass, 'version.version_checks'::regclass)"
        ).fetchone()
    assert valid == (6,)


def test_the_claim_looks_at_what_was_loaded_since_or_at_all(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, hostname="a.com")
    ping(warehouse, 2, hostname="b.com")
    cache.refresh_cleaned_hosts(warehouse, now=NOW)
    with warehouse.connect() as connection:
        connection.execute("delete from hosts.cleaned_hosts")
        connection.execute("update version.usage_data set _loaded_at = %s where id = 2", [NOW])
    since = NOW + timedelta(hours=1)
    with warehouse.connect() as connection:
        connection.execute("update version.usage_data set _loaded_at = %s where id = 1", [since])
    assert claims.uncleaned_hosts(warehouse, now=NOW) == 2
    assert claims.uncleaned_hosts(warehouse, now=NOW, loaded_since=since) == 1


def test_deleted_pings_are_none_and_do_not_move_the_window(warehouse: Warehouse) -> None:
    make_pings(warehouse)
    ping(warehouse, 1, hostname="a.com", at=NOW - timedelta(days=70))
    ping(warehouse, 2, hostname="deleted.com", at=NOW)
    with warehouse.connect() as connection:
        connection.execute("update version.usage_data set _deleted_at = now() where id = 2")
    cache.refresh_cleaned_hosts(warehouse, now=NOW)
    assert set(cleaned(warehouse)) == {"a.com"}


def test_real_host_names_and_hostile_ones_are_all_accounted_for(
    warehouse: Warehouse, shared_fixtures: Path
) -> None:
    hosts = set((shared_fixtures / "hosts" / "adserver-hosts.txt").read_text("utf-8").splitlines())
    hosts |= {
        "",
        " ",
        "@#$^#$",
        "x" * 600,
        "http://user:pw@Example.COM.:8080/x",
        "💩.la",
        "a\r\nb",
    }
    make_pings(warehouse)
    with (
        warehouse.connect() as connection,
        connection.cursor() as cursor,
        cursor.copy("copy version.usage_data (id, hostname, updated_at) from stdin") as copy,
    ):
        for number, host in enumerate(sorted(hosts)):
            copy.write_row((number, host, NOW))
    outcome = cache.refresh_cleaned_hosts(warehouse, now=NOW)
    assert outcome.read == outcome.inserted == len(hosts)
    assert set(cleaned(warehouse)) == hosts


# -- deciding --


def decide(warehouse: Warehouse, names: list[str], *, now: datetime = NOW) -> dict[str, set[str]]:
    found = cache.decide(warehouse, WATERFALL, kind="domain", names=names, now=now)
    assert found.total == len(set(names))
    return {pending.name: set(pending.states) for pending in found.open}


def remember(
    warehouse: Warehouse, stream: object, name: str, outcome: str, days: float = 0
) -> None:
    cache.store(
        warehouse,
        stream,  # type: ignore[arg-type]
        [(name, Answer(outcome))],  # type: ignore[arg-type]
        now=NOW - timedelta(days=days),
    )


def test_the_thirty_day_rule_in_one_query(warehouse: Warehouse) -> None:
    cache.ensure_caches(warehouse)
    cache.ensure_caches(warehouse)
    first, second, third = discoverorg.CACHE, clearbit.CACHE, whois.CACHE
    remember(warehouse, first, "hit.com", "hit")
    for stream in (first, second, third):
        remember(warehouse, stream, "miss.com", "miss", 29.9)
        remember(warehouse, stream, "stale.com", "miss", 30.1)
        remember(warehouse, stream, "error.com", "error")
    remember(warehouse, first, "late.com", "miss")
    remember(warehouse, second, "late.com", "hit")
    remember(warehouse, first, "waiting.com", "miss")
    remember(warehouse, second, "waiting.com", "pending")
    remember(warehouse, third, "waiting.com", "hit")
    names = ["hit.com", "miss.com", "stale.com", "error.com", "late.com", "waiting.com", "new.com"]
    assert decide(warehouse, names) == {
        "stale.com": set(),
        "error.com": set(),
        "waiting.com": {"discoverorg_cache", "whois_cache"},
        "new.com": set(),
    }
    found = cache.decide(warehouse, WATERFALL, kind="domain", names=names, now=NOW)
    known = {pending.name: pending.known for pending in found.open}
    assert known["stale.com"] == {"discoverorg_cache", "clearbit_cache", "whois_cache"}
    assert known["error.com"] == frozenset()
    assert found.cached == {"discoverorg_cache": 4, "clearbit_cache": 2, "whois_cache": 2}
    assert found.done == 3


def test_a_provider_that_may_not_be_asked_does_not_keep_names_open(warehouse: Warehouse) -> None:
    cache.ensure_caches(warehouse)
    remember(warehouse, discoverorg.CACHE, "old-hit.com", "hit")
    remember(warehouse, clearbit.CACHE, "miss.com", "miss")
    waterfall = [(discoverorg.CACHE, False), (clearbit.CACHE, True)]
    found = cache.decide(
        warehouse, waterfall, kind="domain", names=["old-hit.com", "miss.com", "new.com"], now=NOW
    )
    assert [pending.name for pending in found.open] == ["new.com"]


def test_a_cache_row_is_whole(warehouse: Warehouse) -> None:
    answer = Answer("hit", {"company_name": "One"}, {"a": ["é", None, 1.5]})
    batch = cache.rows_of(clearbit.CACHE, [("one.com", answer)], NOW)
    assert batch.schema.names == [column.name for column in clearbit.CACHE.columns]
    row = batch.to_pylist()[0]
    assert row["domain"] == "one.com"
    assert row["raw_answer"] == '{"a":["é",null,1.5]}'
    assert row["company_domain"] is None
    assert cache.rows_of(whois.CACHE, [], NOW).num_rows == 0


@pytest.mark.slow
def test_a_million_cached_domains_are_decided_in_five_seconds(warehouse: Warehouse) -> None:
    count = 1_000_000
    cache.ensure_caches(warehouse)
    with warehouse.connect() as connection:
        for table, outcome in (("discoverorg_cache", "miss"), ("clearbit_cache", "hit")):
            connection.execute(
                f"insert into enrichment.{table} (domain, outcome, last_update)"  # type: ignore[arg-type]
                " select 'name' || n || '.com', %s, %s from generate_series(1, %s) as n",
                [outcome, NOW, count],
            )
        connection.execute("create schema hosts")
        connection.execute(
            "create table hosts.cleaned_hosts as"
            " select 'www.name' || n || '.com' as raw_host, 'domain' as kind,"
            " 'name' || n || '.com' as clean_domain, null::text as clean_full_domain,"
            " %s::timestamptz as last_pinged_at from generate_series(1, %s) as n",
            [NOW, count + 10],
        )
    began = time.monotonic()
    found = cache.decide(warehouse, WATERFALL, kind="domain", names=None, now=NOW)
    seconds = time.monotonic() - began
    assert (found.total, len(found.open)) == (count + 10, 10)
    assert seconds < 5
