"""What the dbt project builds over nothing and a few rows, the first time, again, and two at once."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from meltano_assets.assets.dbt import build_dbt_assets, dbt_project, dbt_resource
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.modelling import building
from meltano_assets.resources import WarehouseResource
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests import command_line
from meltano_assets_tests.dbt_project.conftest import Project
from meltano_assets_tests.dbt_project.raw_tables import create_raw_tables


def test_days_know_their_weeks_and_quarters(empty: Project) -> None:
    """The first days of 2027 belong to the last week of 2026; after the last one there is none."""
    found = {
        str(day): values
        for day, *values in empty.rows(
            "select date_day, year_iso, week_of_year_iso, week_start_date::text, day_name,"
            " is_weekend, fiscal_year, fiscal_quarter, fiscal_quarter_end_date::text"
            " from analytics.dim_dates"
        )
    }
    assert len(found) == 10_957
    assert found["2027-01-03"] == [
        *(2026, 53, "2026-12-28", "Sunday", True, 2027, 1, "2027-03-31"),
    ]
    assert found["2024-02-29"] == [
        *(2024, 9, "2024-02-26", "Thursday", False, 2024, 1, "2024-03-31"),
    ]
    assert {"2010-01-01", "2039-12-31"} <= set(found)


def test_empty_sources_give_empty_marts(empty: Project) -> None:
    for name in ("fct_opportunities", "agg_sales_accepted_opportunities_weekly", "dim_hosts"):
        assert empty.rows(f"select count(*) from analytics.{name}") == [(0,)]


@contextmanager
def department_renamed(project: Project) -> Iterator[None]:
    """A column that a staging model reads has another name for a while."""
    rename = "alter table salesforce.users rename {} to {}"
    with project.connect() as connection:
        create_raw_tables(connection)
        connection.execute(rename.format("department", "dept"))
    try:
        yield
    finally:
        with project.connect() as connection:
            connection.execute(rename.format("dept", "department"))


VANISHED = (
    "stg_salesforce__users reads department of salesforce.users, and the table has no such column:"
    " load the stream again (meltano-assets extract salesforce.users)"
)


def test_a_vanished_column_is_named_with_its_model_and_the_next_step(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
) -> None:
    """By `meltano-assets dbt` and in Dagster alike; models that do not read it are built."""
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", project.url)
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path))
    parsed_by_dbt(tmp_path / "dbt" / WAREHOUSE_DATABASE)
    chosen = ["stg_salesforce__users", "stg_salesforce__user_roles"]
    with department_renamed(project):
        run = command_line.start("dbt", "run", "--select", *chosen)
        said = b" ".join(run.communicate(timeout=240)).decode()
        place = dbt_project()
        models = build_dbt_assets(place)
        keys = [key for key in models.keys if key.path[-1] in chosen]
        result = dg.materialize(
            [models],
            resources={"dbt": dbt_resource(place), "database": WarehouseResource(url=project.url)},
            selection=keys,
            raise_on_error=False,
        )
    assert run.returncode == 1
    assert VANISHED in " ".join(said.split())
    assert "PASS=1 WARN=0 ERROR=1" in said
    assert not result.success
    told = " ".join(str(event.event_specific_data) for event in result.get_step_failure_events())
    assert VANISHED in " ".join(told.replace("\\n", " ").split())


def test_a_vendor_that_was_never_loaded_has_empty_models(empty: Project) -> None:
    with empty.connect() as connection:
        connection.execute("drop schema zendesk cascade")
    assert empty.dbt("run", "--select", "staging.zendesk", "fct_tickets") == {}
    assert empty.rows("select count(*) from analytics.fct_tickets") == [(0,)]
    kinds = dict(
        empty.rows(
            "select column_name, data_type from information_schema.columns"
            " where table_name = 'stg_zendesk__tickets'"
        )
    )
    assert kinds["created_at"] == "timestamp with time zone"
    assert kinds["tags"] == "jsonb"


def test_snapshots_keep_each_state_of_an_opportunity(empty: Project) -> None:
    with empty.connect() as connection:
        connection.execute(
            "insert into salesforce.opportunities (id, stage_name, system_modstamp)"
            " values ('snap', '1-Discovery', '2026-01-01 10:00Z')"
        )
    assert empty.dbt("snapshot") == {}
    with empty.connect() as connection:
        # As if the snapshots were older than the column: it joins them and nothing is lost.
        connection.execute(
            "alter table snapshots.snap_salesforce__opportunities drop column sales_segment cascade"
        )
        connection.execute(
            "update salesforce.opportunities set stage_name = 'Closed Won',"
            " sales_segmentation__c = 'SMB', system_modstamp = '2026-01-02 10:00Z' where id = 'snap'"
        )
    assert empty.dbt("snapshot") == {}
    assert empty.dbt("run", "--select", "fct_opportunity_snapshots") == {}
    states = empty.rows(
        "select mapped_stage, is_current, (valid_from_at at time zone 'UTC')::text"
        " from analytics.fct_opportunity_snapshots where opportunity_id = 'snap' order by 3"
    )
    assert states == [
        ("1-Discovery", False, "2026-01-01 10:00:00"),
        ("7-Closed", True, "2026-01-02 10:00:00"),
    ]
    segments = empty.rows(
        "select sales_segment from snapshots.snap_salesforce__opportunities"
        " where opportunity_id = 'snap' order by dbt_valid_from"
    )
    assert segments == [(None,), ("SMB",)]


PING = (
    "insert into version.usage_data (id, uuid, hostname, version, stats, updated_at, _loaded_at)"
    " values (%s, %s, %s, %s, %s, %s, %s)"
)


def test_incremental_models_equal_a_full_rebuild(empty: Project) -> None:
    """New, changed, late, moved and deleted pings; one whose load ended after a later one's."""
    models = ["int_usage_pings__unpacked", "int_installs__used_monthly"]
    models += ["fct_usage_pings", "agg_usage_monthly"]
    tables = ("analytics.fct_usage_pings", "analytics.agg_usage_monthly")
    first, later = "2026-03-01 00:00Z", "2026-03-02 00:00Z"
    with empty.connect() as connection:
        connection.execute("truncate version.usage_data")
        for number, (uuid, pinged) in enumerate(
            [
                ("a", "2026-01-10"),
                ("a", "2026-01-20"),
                ("b", "2026-01-05"),
                ("c", "2026-02-01"),
                ("e", "2026-01-02"),
                ("e", "2026-01-03"),
                ("f", "2026-01-04"),
            ]
        ):
            values = (number, uuid, "h", "10.0", '{"issues": 1}', pinged, first)
            connection.execute(PING, values)
    assert empty.dbt("run", "--full-refresh", "--select", *models) == {}
    with empty.connect() as connection:
        connection.execute(PING, (10, "a", "h", "10.1", '{"issues": 0}', "2026-01-30", later))
        connection.execute(PING, (11, "d", "h", "10.1", None, "2025-12-01", later))
        connection.execute(PING, (12, "b", "h", "9.0", None, "2026-01-01", "2026-02-28 23:00Z"))
        connection.execute(
            "update version.usage_data set stats = '{\"notes\": 3}', version = '11.0-ee',"
            " _loaded_at = %s where id = 2",
            [later],
        )
        connection.execute(
            "update version.usage_data set _deleted_at = %s, _loaded_at = %s where id = 3",
            [later, later],
        )
        # The last ping of its month, and the only one of another's, are told again with new times.
        connection.execute(
            "update version.usage_data set updated_at = '2026-02-03', _loaded_at = %s"
            " where id in (5, 6)",
            [later],
        )
    assert empty.dbt("run", "--select", *models) == {}
    untouched = empty.rows(
        "select usage_ping_id from intermediate.int_usage_pings__unpacked where unpacked_at ="
        " (select min(unpacked_at) from intermediate.int_usage_pings__unpacked) order by 1"
    )
    assert untouched == [(0,), (1,), (4,)]
    incremental = [empty.rows(f"select * from {table} order by 1") for table in tables]
    assert empty.dbt("run", "--full-refresh", "--select", *models) == {}
    full = [empty.rows(f"select * from {table} order by 1") for table in tables]
    assert incremental == full
    assert [len(rows) for rows in full] == [9, 6]


def test_a_table_from_before_gets_its_index(empty: Project) -> None:
    """Once: the look-up of single months leans on it, whoever made the table."""
    index = (
        "select count(*) from pg_indexes where schemaname = 'intermediate' and tablename ="
        " 'int_usage_pings__unpacked' and indexdef like '%(install_uuid, pinged_at)'"
    )
    model = "int_usage_pings__unpacked"
    assert empty.dbt("run", "--full-refresh", "--select", model) == {}
    assert empty.rows(index) == [(1,)]
    with empty.connect() as connection:
        [(name,)] = connection.execute(index.replace("count(*)", "indexname").encode()).fetchall()
        connection.execute(sql.SQL("drop index intermediate.{}").format(sql.Identifier(name)))
    for _ in range(2):
        assert empty.dbt("run", "--select", model) == {}
        assert empty.rows(index) == [(1,)]


def test_doubled_keys_are_found_with_and_without_an_index(empty: Project) -> None:
    """An index that is unique stands for the test; one that is not, or is partial, does not."""
    name = "unique_int_raw_hosts__matched_to_accounts_raw_host"
    table = "intermediate.int_raw_hosts__matched_to_accounts"
    assert empty.dbt("run", "--select", "int_raw_hosts__matched_to_accounts") == {}
    assert empty.dbt("test", "--select", name) == {}
    with empty.connect() as connection:
        connection.execute(f"create table doubled as select * from {table} limit 0".encode())
        connection.execute(f"drop table {table} cascade".encode())
        connection.execute(b"alter table doubled set schema intermediate")
        connection.execute(f"alter table intermediate.doubled rename to {table[13:]}".encode())
        connection.execute(
            f"insert into {table} values ('h'), ('h'), ('i'), (null), (null)".encode()
        )
        connection.execute(f"create index on {table} (raw_host)".encode())
        connection.execute(
            f"create unique index on {table} (raw_host) where raw_host = 'i'".encode()
        )
    assert empty.dbt("test", "--select", name) == {
        name: "fail: Got 1 result, configured to fail if != 0"
    }
    assert empty.dbt("run", "--select", "int_raw_hosts__matched_to_accounts+1") == {}


def test_doubled_keys_of_a_view_are_found_whatever_doubles_them(empty: Project) -> None:
    """Not a row is read while indexes of the tables below leave no place for them."""
    name = "unique_agg_usage_monthly_install_month_id"
    used, hosts = "int_installs__used_monthly", "int_raw_hosts__matched_to_accounts"
    doubled = {name: "fail: Got 1 result, configured to fail if != 0"}
    row = "(install_month_id, raw_host, usage_ping_id) values ('i', 'twice', 1)"

    def is_read() -> bool:
        assert empty.dbt("test", "--select", name) in ({}, doubled)
        [test] = empty.target.glob(f"compiled/**/{name}.sql")
        plan = empty.rows(f"explain (analyze, costs off, timing off) {test.read_text()}")
        return not any("One-Time Filter" in line for (line,) in plan)

    assert empty.dbt("run", "--full-refresh", "--select", used, hosts, "agg_usage_monthly") == {}
    assert not is_read()
    with empty.connect() as connection:
        connection.execute(f"insert into intermediate.{used} {row}".encode())
        _drop_unique_indexes(connection, hosts)
        connection.execute(f"insert into intermediate.{hosts} values ('twice'), ('twice')".encode())
    assert is_read()
    assert empty.dbt("test", "--select", name) == doubled
    assert empty.dbt("run", "--select", f"{hosts}+1") == {}
    assert not is_read()
    with empty.connect() as connection:
        _drop_unique_indexes(connection, used)
        connection.execute(f"insert into intermediate.{used} {row}".encode())
    assert empty.dbt("test", "--select", name) == doubled
    assert empty.dbt("run", "--full-refresh", "--select", f"{used}+1") == {}


def _drop_unique_indexes(connection: psycopg.Connection, table: str) -> None:
    found = "select indexrelid::regclass::text from pg_index where indisunique and indrelid = %s::regclass"
    for (index,) in connection.execute(found, [f"intermediate.{table}"]).fetchall():
        connection.execute(f"drop index {index}".encode())


def test_two_runs_at_once_leave_each_ping_once(
    empty: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
) -> None:
    """The second waits for the first, and says so; neither fails and nothing is there twice."""
    models = ["int_usage_pings__unpacked", "int_installs__used_monthly"]
    later = "2026-05-02 00:00Z"
    with empty.connect() as connection:
        connection.execute("truncate version.usage_data")
    assert empty.dbt("run", "--full-refresh", "--select", *models) == {}
    with empty.connect() as connection:
        for number in range(200):
            row = (number, f"u{number % 20}", "h", "10.0", '{"issues": 1}', "2026-04-10", later)
            connection.execute(PING, row)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", empty.url)
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path))
    parsed_by_dbt(tmp_path / "dbt" / WAREHOUSE_DATABASE)
    runs = [command_line.start("dbt", "run", "--select", *models) for _ in range(2)]
    said = [(out + err).decode() for out, err in (run.communicate(timeout=240) for run in runs)]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sorted("waiting for it to end" in words for words in said) == [False, True]
    assert empty.rows(
        "select count(*), count(distinct usage_ping_id) from intermediate.int_usage_pings__unpacked"
    ) == [(200, 200)]
    assert empty.rows("select count(*) from intermediate.int_installs__used_monthly") == [(20,)]


def test_a_run_that_is_killed_leaves_no_dbt_behind(
    empty: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
    eventually: Callable[..., None],
) -> None:
    """Whoever builds next would build the same tables as the dbt that nobody waits for."""
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", empty.url)
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path))
    parsed_by_dbt(tmp_path / "dbt" / WAREHOUSE_DATABASE)
    statements = (
        "select wait_event_type from pg_stat_activity"
        " where application_name = 'meltano-assets dbt' and datname = current_database()"
    )
    with empty.connect() as connection:
        connection.execute("lock table analytics.dim_dates in access exclusive mode")
        run = command_line.start(
            *("dbt", "run", "--select", "dim_dates"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # As a shell starts what runs in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        )
        eventually(lambda: ("Lock",) in empty.rows(statements), 120)
        run.kill()
        run.wait()
        eventually(lambda: not empty.rows(statements), 60)


def test_a_run_of_dagster_waits_for_others(
    empty: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
) -> None:
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", empty.url)
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path))
    parsed_by_dbt(tmp_path / "dbt" / WAREHOUSE_DATABASE)
    place = dbt_project()
    models = build_dbt_assets(place)
    resources = {"dbt": dbt_resource(place), "database": WarehouseResource(url=empty.url)}
    [days] = [key for key in models.keys if key.path[-1] == "dim_dates"]
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with ThreadPoolExecutor(1) as pool:
        with building(Warehouse(empty.url), pytest.fail):
            run = pool.submit(dg.materialize, [models], resources=resources, selection=[days])
            while empty.rows(waiting) == [(0,)]:
                assert not run.done(), run.result()
                time.sleep(0.1)
        assert run.result().success


#: Opportunity → its states: since, until, in the pipeline, state, closes, value.
STATES: dict[str, list[tuple[str, str | None, bool, str, str, int]]] = {
    "stays": [("2026-01-01", None, True, "Open", "2026-03-01", 100)],
    "grows": [
        ("2026-01-01", "2026-02-10", True, "Open", "2026-03-01", 50),
        ("2026-02-10", None, True, "Open", "2026-03-01", 80),
    ],
    "shrinks": [
        ("2026-01-01", "2026-02-10", True, "Open", "2026-03-01", 40),
        ("2026-02-10", None, True, "Open", "2026-03-01", 30),
    ],
    "won": [
        ("2026-01-01", "2026-02-11", True, "Open", "2026-02-11", 60),
        ("2026-02-11", None, False, "Won", "2026-02-11", 70),
    ],
    "lost": [
        ("2026-01-01", "2026-02-12", True, "Open", "2026-02-28", 20),
        ("2026-02-12", None, False, "Lost", "2026-02-12", 20),
    ],
    "put off": [
        ("2026-01-01", "2026-02-13", True, "Open", "2026-03-31", 10),
        ("2026-02-13", None, True, "Open", "2026-06-30", 10),
    ],
    "pulled in": [
        ("2026-01-01", "2026-02-14", True, "Open", "2026-06-30", 15),
        ("2026-02-14", None, True, "Open", "2026-03-31", 15),
    ],
    "new": [("2026-02-15", None, True, "Open", "2026-03-15", 25)],
    "accepted": [
        ("2026-01-01", "2026-02-16", False, "Open", "2026-03-15", 5),
        ("2026-02-16", None, True, "Open", "2026-03-15", 5),
    ],
    "quick": [("2026-02-17", None, False, "Won", "2026-02-20", 35)],
    "rejected": [
        ("2026-01-01", "2026-02-18", True, "Open", "2026-03-15", 8),
        ("2026-02-18", None, False, "Open", "2026-03-15", 8),
    ],
    "done before": [("2026-01-01", None, False, "Won", "2026-01-20", 500)],
}


def test_pipeline_changes_between_any_two_days(empty: Project) -> None:
    """From the end of January to the end of February, for deals that were to close by March.

    Starting 100 + 50 + 40 + 60 + 20 + 10 + 8 = 288; created 25 + 5 + 35 = 65; moved in 15;
    increased 30, decreased 10; moved out 10, won 60 + 35 = 95, lost 20, removed 8.
    288 + 65 + 15 + 30 - 10 - 10 - 95 - 20 - 8 = 255 = 100 + 80 + 30 + 15 + 25 + 5, the ending.
    """
    with empty.connect() as connection:
        connection.execute("truncate analytics.fct_opportunity_snapshots")
        for name, states in STATES.items():
            for since, until, is_open, state, closes, value in states:
                connection.execute(
                    "insert into analytics.fct_opportunity_snapshots (opportunity_snapshot_id,"
                    " opportunity_id, is_in_pipeline, stage_state, is_deleted, close_date,"
                    " incremental_acv, incremental_acv_reporting, assumed_from_at, valid_from_at,"
                    " valid_before_at) values (%s, %s, %s, %s, false, %s, %s, %s, %s, %s, %s)",
                    [name + since, name, is_open, state, closes, value, value, since, since, until],
                )
    asked = "'2026-01-31', '2026-02-28', '2026-01-01', '2026-03-31'"
    found = {
        kind: (count, value)
        for kind, count, value in empty.rows(
            "select change_type, count(*), sum(incremental_acv_reporting)"
            f" from analytics.pipeline_change({asked}) group by 1"
        )
    }
    assert found == {
        "Starting": (7, 288),
        "Created": (3, 65),
        "Moved In": (1, 15),
        "Increased": (1, 30),
        "Decreased": (1, -10),
        "Moved Out": (1, -10),
        "Won": (2, -95),
        "Lost": (1, -20),
        "Removed": (1, -8),
        "Ending": (6, 255),
    }
    alone = empty.rows(
        "select distinct change_type from analytics.pipeline_change('2026-02-20', '2026-02-20')"
    )
    assert set(alone) == {("Starting",), ("Ending",)}


#: Opportunity → its states: since, until, closes, IACV and TCV as entered, and in the reporting currency.
Values = tuple[int | None, int | None, int | None, int | None]
VALUED: dict[str, list[tuple[str, str | None, str | None, Values]]] = {
    "gets a rate": [
        ("2026-01-01", "2026-02-10", "2026-03-01", (7, 70, None, None)),
        ("2026-02-10", None, "2026-03-01", (7, 70, 14, 140)),
    ],
    "loses it": [
        ("2026-01-01", "2026-02-10", "2026-03-01", (5, 50, 5, 50)),
        ("2026-02-10", None, "2026-03-01", (5, 50, None, None)),
    ],
    "a shorter term": [
        ("2026-01-01", "2026-02-10", "2026-03-01", (9, 90, 9, 90)),
        ("2026-02-10", None, "2026-03-01", (9, 30, 9, 30)),
    ],
    "closes on no day": [("2026-01-01", None, None, (3, 30, 3, 30))],
}


def test_pipeline_changes_add_up_whatever_is_unknown(empty: Project) -> None:
    """IACV: starting 5 + 9 + 3 = 17, increased 14, decreased 5 and 0: 26 = 14 + 9 + 3, the ending.

    TCV: starting 50 + 90 + 30 = 170, increased 140, decreased 50 and 60: 200 = 140 + 30 + 30.
    """
    with empty.connect() as connection:
        connection.execute("truncate analytics.fct_opportunity_snapshots")
        for name, states in VALUED.items():
            for since, until, closes, values in states:
                connection.execute(
                    "insert into analytics.fct_opportunity_snapshots (opportunity_snapshot_id,"
                    " opportunity_id, is_in_pipeline, stage_state, is_deleted, close_date,"
                    " incremental_acv, total_contract_value, incremental_acv_reporting,"
                    " total_contract_value_reporting, assumed_from_at, valid_from_at,"
                    " valid_before_at) values (%s, %s, true, 'Open', false, %s, %s, %s, %s, %s,"
                    " %s, %s, %s)",
                    [name + since, name, closes, *values, since, since, until],
                )
    found = {
        kind: values
        for kind, *values in empty.rows(
            "select change_type, count(*)::int, sum(incremental_acv_reporting)::int,"
            " sum(total_contract_value_reporting)::int"
            " from analytics.pipeline_change('2026-01-31', '2026-02-28') group by 1"
        )
    }
    assert found == {
        "Starting": [4, 17, 170],
        "Increased": [1, 14, 140],
        "Decreased": [2, -5, -110],
        "Ending": [4, 26, 200],
    }
    by_march = empty.rows(
        "select count(*) from analytics.pipeline_change('2026-01-31', '2026-01-31', '2026-01-01',"
        " '2026-03-31') where change_type = 'Ending'"
    )
    assert by_march == [(3,)], "what closes on no day closes in no quarter"
