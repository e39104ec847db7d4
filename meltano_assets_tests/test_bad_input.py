"""Bad days: each ends in a clear error or a counted skip, nothing half-written, and the next run
heals it."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from meltano_assets import cli
from meltano_assets.assets.hosts import build_hosts_assets
from meltano_assets.assets.raw import build_raw_assets
from meltano_assets.commands.loading import extract_to_warehouse
from meltano_assets.commands.terminal import print_outcome
from meltano_assets.extraction import open_source
from meltano_assets.resources import CopyIOManager, WarehouseResource
from meltano_assets.resources import Vendors as VendorsResource
from meltano_assets.sandbox.databases import DATABASES
from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets.sources import SOURCES
from meltano_assets.streams import ReadOptions
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.clients.local_server import FakeClock, free_port
from meltano_assets_tests.command_line import Ran, command, nothing_looked_up, variables
from meltano_assets_tests.sources.conftest import Vendors

DATABASE = "sandbox_bad_input"
CANARY = "canary-7f3a91-wrong"
#: A stream of several pages at each vendor, and the requests that read it.
PAGED = {
    "salesforce": ("salesforce.campaign_members", "/quer"),
    "zendesk": ("zendesk.tickets", "/incremental/"),
}


@pytest.fixture(scope="module")
def company(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"),
        postgres_url=server.url("postgres"),
        database=DATABASE,
        scale=0.05,
    ) as manifest:
        yield Vendors(manifest)


@pytest.fixture
def vendors(
    company: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vendors]:
    """The company behaves; it and an empty warehouse are named by variables."""
    for name, value in variables(company).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    company.clear_faults()
    with nothing_looked_up():
        yield company
    company.clear_faults()


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    with warehouse.connect() as connection:
        return connection.execute(query.encode()).fetchall()


def content(warehouse: Warehouse, key: str) -> list[dict[str, object]]:
    """A whole raw table but for what the loader adds."""
    query = f"select to_jsonb(t) - '_loaded_at' - '_load_id' from {key} as t order by id::text"
    return [row[0] for row in rows(warehouse, query)]


def is_there(warehouse: Warehouse, key: str) -> bool:
    return rows(warehouse, f"select to_regclass('{key}')") != [(None,)]


def leftovers(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return rows(warehouse, "select relname from pg_class where relname like 'meltano_new%'")


def extract_without_waiting(key: str, settings: dict[str, str]) -> Ran:
    """`extract`, but the pauses between tries are not waited for."""
    source = next(source for source in SOURCES if source.name == key.split(".", maxsplit=1)[0])

    def run() -> None:
        with open_source(source, settings, transport=FakeClock().transport()) as reader:
            stream = source.stream(key.split(".")[1])
            print_outcome(key, extract_to_warehouse(reader, stream, ReadOptions()))

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.run(run)
    return Ran(code, out.getvalue(), err.getvalue())


def check_healed(vendors: Vendors, warehouse: Warehouse, key: str, *how: str) -> None:
    """The next run succeeds and the table is what an undisturbed load makes."""
    vendors.clear_faults()
    ran = command("extract", key, *how)
    assert ran.code == 0, ran.err
    healed = content(warehouse, key)
    assert healed
    assert leftovers(warehouse) == []
    assert command("extract", key, "--full-refresh").code == 0
    assert content(warehouse, key) == healed


# the warehouse


def test_an_unreachable_warehouse(
    vendors: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", f"postgresql://me:{CANARY}@127.0.0.1:{port}/x")
    ran = command("extract", "zendesk.groups")
    assert ran.code == 1
    assert f"127.0.0.1:{port}/x is not reachable" in ran.err
    assert "MELTANO_WAREHOUSE_URL" in ran.err
    assert CANARY not in ran.said


@pytest.mark.parametrize("wrong", ["password", "user", "database"])
def test_a_warehouse_that_refuses(
    wrong: str, vendors: Vendors, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, password = warehouse.parameters["user"], warehouse.parameters["password"]
    url = {
        "password": warehouse.url.replace(password, CANARY),
        "user": warehouse.url.replace(f"//{user}:", "//nobody:"),
        "database": warehouse.with_database("nowhere").url,
    }[wrong]
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", url)
    ran = command("extract", "zendesk.groups")
    assert ran.code == 2
    assert "MELTANO_WAREHOUSE_URL" in ran.err
    assert CANARY not in ran.said
    assert password not in ran.said


# vendors


@pytest.mark.parametrize("name", ["salesforce", "version", "zendesk"])
def test_an_unreachable_vendor(name: str, vendors: Vendors, warehouse: Warehouse) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    settings = vendors.settings(name)
    for setting in {"base_url", "login_url"} & set(settings):
        settings[setting] = f"http://{nobody}"
    if name == "version":
        settings["url"] = re.sub(r"@[^/]+/", f"@{nobody}/", settings["url"])
    key = {"version": "version.usage_data"}.get(name) or PAGED[name][0]
    ran = extract_without_waiting(key, settings)
    assert ran.code == 1
    assert f"error: {key}:" in ran.err
    assert nobody in ran.err
    assert not is_there(warehouse, key)
    check_healed(vendors, warehouse, key)


@pytest.mark.parametrize(
    ("key", "variable"),
    [
        ("zendesk.tickets", "ZENDESK_API_TOKEN"),
        ("salesforce.leads", "SALESFORCE_CLIENT_SECRET"),
        ("version.usage_data", "VERSION_DB_URL"),
    ],
)
def test_a_wrong_secret(
    key: str,
    variable: str,
    vendors: Vendors,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = variables(vendors)[variable]
    wrong = CANARY if "://" not in right else re.sub(r":[^:@]+@", f":{CANARY}@", right)
    with monkeypatch.context() as patch:
        patch.setenv(variable, wrong)
        ran = command("extract", key)
    assert ran.code == 2
    assert key in ran.err
    assert variable in ran.err
    assert CANARY not in ran.said
    assert not is_there(warehouse, key)
    check_healed(vendors, warehouse, key)


def test_a_database_that_refuses_logins(vendors: Vendors, warehouse: Warehouse) -> None:
    vendors.arm("version", "refuse")
    ran = command("extract", "version.usage_data")
    assert ran.code in (1, 2)
    assert "version.usage_data:" in ran.err
    check_healed(vendors, warehouse, "version.usage_data")


def test_a_token_that_expires_in_the_middle_is_renewed(
    vendors: Vendors, warehouse: Warehouse
) -> None:
    vendors.arm("salesforce", "expire_session", match="/quer", skip=1)
    key = PAGED["salesforce"][0]
    ran = command("extract", key)
    assert ran.code == 0, ran.err
    check_healed(vendors, warehouse, key)


@pytest.mark.parametrize("kind", ["truncate", "html"])
@pytest.mark.parametrize("name", PAGED)
def test_half_a_page_once_is_asked_for_again(
    name: str, kind: str, vendors: Vendors, warehouse: Warehouse
) -> None:
    key, match = PAGED[name]
    vendors.arm(name, kind, match=match)
    ran = extract_without_waiting(key, vendors.settings(name))
    assert ran.code == 0, ran.err
    check_healed(vendors, warehouse, key)


@pytest.mark.parametrize("kind", ["truncate", "html", "drop"])
@pytest.mark.parametrize("name", PAGED)
def test_pages_that_stay_broken(
    name: str, kind: str, vendors: Vendors, warehouse: Warehouse
) -> None:
    key, match = PAGED[name]
    vendors.arm(name, kind, times=1000, match=match)
    ran = extract_without_waiting(key, vendors.settings(name))
    assert ran.code == 1
    assert ran.err.startswith(f"error: {key}: ")
    assert len(ran.err.splitlines()) == 1
    assert leftovers(warehouse) == []
    check_healed(vendors, warehouse, key)


@pytest.fixture(scope="module")
def large_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendors]:
    """A company whose campaign members fill more than a page."""
    with serve_in_thread(state_dir=tmp_path_factory.mktemp("large"), scale=0.8) as manifest:
        yield Vendors(manifest)


@pytest.mark.parametrize("key", ["zendesk.tickets", "salesforce.campaign_members"])
def test_a_page_repeated_for_ever(
    key: str,
    vendors: Vendors,
    large_org: Vendors,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = key.split(".", maxsplit=1)[0]
    if name == "salesforce":
        for setting in ("BASE_URL", "CLIENT_SECRET", "PASSWORD", "SECURITY_TOKEN"):
            right = large_org.settings(name)[setting.lower()]
            monkeypatch.setenv(f"SALESFORCE_{setting}", right)
        vendors = large_org
    vendors.arm(name, "repeat_page", times=1000)
    ran = extract_without_waiting(key, vendors.settings(name))
    assert ran.code == 1
    assert ran.err.startswith(f"error: {key}: ")
    assert "repeats the same page" in ran.err
    assert leftovers(warehouse) == []
    check_healed(vendors, warehouse, key)


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("zendesk.tickets", {"kind": "change_schema", "drop": ["subject", "tags"]}),
        ("version.usage_data", {"kind": "change_schema", "table": "usage_data", "drop": ["stats"]}),
        ("salesforce.leads", {"kind": "missing_field", "field": "Lead.Industry", "times": 1000}),
    ],
)
def test_a_field_that_goes_missing_costs_no_record(
    key: str, fault: dict[str, Any], vendors: Vendors, warehouse: Warehouse
) -> None:
    fields = {"Lead.Industry": "industry", "subject": "subject", "tags": "tags", "stats": "stats"}
    assert command("extract", key).code == 0
    before = content(warehouse, key)
    vendors.arm(key.split(".", maxsplit=1)[0], **fault)
    ran = command("extract", key, "--full-refresh")
    assert ran.code == 0, ran.err
    # Every record is there; only what the vendor no longer tells is null.
    gone = [fields[name] for name in fault.get("drop", [fault.get("field")])]
    assert content(warehouse, key) == [row | dict.fromkeys(gone) for row in before]
    vendors.clear_faults()
    if "table" not in fault:  # a dropped column of a database does not come back
        assert command("extract", key, "--full-refresh").code == 0
        assert content(warehouse, key) == before


# the graph


def materialize(
    warehouse: Warehouse, vendors: Vendors, names: set[str], **config: object
) -> dg.ExecuteInProcessResult:
    """The raw assets of those sources, then the hosts and their enrichment."""
    database = WarehouseResource(url=warehouse.url)
    raw = build_raw_assets(tuple(source for source in SOURCES if source.name in names))
    settings = {vendor: vendors.settings(vendor) for vendor in vendors.manifest}
    ops = {asset.op.name: {"config": config} for asset in raw} if config else {}
    return dg.materialize(
        [*raw, *build_hosts_assets()],
        resources={
            "database": database,
            "vendors": VendorsResource(settings=settings, settings_are_sandbox=True),
            "io_manager": CopyIOManager(database=database),
        },
        instance=dg.DagsterInstance.ephemeral(),
        run_config={
            "ops": ops,
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        raise_on_error=False,
    )


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    checks = [
        event.asset_check_evaluation_data
        for event in result.all_events
        if event.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    assert checks
    return [
        f"{check.asset_key.to_user_string()}:{check.check_name}"
        for check in checks
        if not check.passed and check.check_name != "source_count_agrees"
    ]


def test_vendors_that_have_nothing(vendors: Vendors, warehouse: Warehouse) -> None:
    names = {source.name for source in SOURCES}
    result = materialize(warehouse, vendors, names, end="1990-01-01")
    assert result.success
    assert not failed_checks(result)
    for source in SOURCES:
        for stream in source.streams:
            assert is_there(warehouse, stream.key), stream.key
    assert rows(warehouse, "select count(*) from hosts.cleaned_hosts") == [(0,)]
    assert command("extract", "version.usage_data").code == 0
    assert content(warehouse, "version.usage_data")


GARBAGE = (
    "",
    " ",
    "\t\r\n",
    "http://",
    "https://user:pass@:99999/",
    "🦊.example.com",
    "مثال.إختبار",
    "xn--",
    "xn--a",
    "a" * 5000 + ".com",
    ".".join(["a"] * 500),
    "..",
    "-",
    "%00%ff",
    "\u202egpj.exe",
    "\ufeffgitlab.example.com",
    "'; drop table users; --",
    '{"host": "x"}',
    "[::ffff:127.0.0.1]:80",
    "0x7f.1",
    "1.2.3.4.5",
    "999.999.999.999",
    "fe80::1%eth0",
    "//\\\\//",
    "javascript:alert(1)",
    "\x01\x02\x7f",
    "host\u2028name.com",
    "İstanbul.com",
    "ﬁne.com",
    "１２７.０.０.１",
)


def test_host_names_full_of_garbage(vendors: Vendors, warehouse: Warehouse) -> None:
    stores = Warehouse(warehouse.url).with_database(DATABASE)
    newest = rows(stores, "select max(updated_at) from usage_data")[0][0]
    with (
        stores.connect() as connection,
        connection.cursor().copy(
            "copy usage_data (id, uuid, hostname, version, edition, recorded_at, created_at,"
            " updated_at) from stdin"
        ) as copy,
    ):
        for place, host in enumerate(GARBAGE):
            row = (9_000_000 + place, f"garbage-{place}", host, "11", "CE", newest, newest, newest)
            copy.write_row(row)
    result = materialize(warehouse, vendors, {"version"})
    assert result.success
    assert not failed_checks(result)
    kinds = dict(rows(warehouse, "select raw_host, kind from hosts.cleaned_hosts"))
    # Very long ones are kept by their beginning.
    beginnings = tuple(raw for raw in kinds if len(raw) > 250)
    lost = [host for host in GARBAGE if host not in kinds and not host.startswith(beginnings)]
    assert lost in ([], [""])
    assert kinds["[::ffff:127.0.0.1]:80"] == "internal"
    assert kinds["0x7f.1"] == "internal"
    assert kinds["1.2.3.4.5"] == "invalid"
    # None of it is asked about but what is a name after cleaning.
    asked = rows(warehouse, "select domain from enrichment.discoverorg_cache")
    assert not [domain for (domain,) in asked if not re.fullmatch(r"[a-z0-9.-]+", domain)]


# what is said


def test_no_secret_is_in_anything_that_a_failing_command_leaves(
    vendors: Vendors,
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    state_directory: Path,
) -> None:
    caplog.set_level("DEBUG")
    secrets = {
        str(value)
        for service in vendors.manifest.values()
        for name, value in service.items()
        if name
        in {
            "password",
            "client_secret",
            "security_token",
            "api_token",
            "oauth_token",
            "api_key",
            "partner_key",
        }
    }
    secrets |= {CANARY, warehouse.parameters["password"]}
    said = []
    for source in SOURCES:
        for variable in source.variables:
            if not variable.is_secret:
                continue
            right = variables(vendors).get(variable.name, "")
            wrong = CANARY if "://" not in right else re.sub(r":[^:@]+@", f":{CANARY}@", right)
            with monkeypatch.context() as patch:
                patch.setenv(variable.name, wrong)
                said.append(command("extract", source.name, "--limit", "1").said)
        if source.name not in DATABASES:
            vendors.arm(source.name, "html", times=50, status=400)
            said.append(command("extract", source.name).said)
            vendors.clear_faults()
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url.replace("127.0.0.1", "[broken"))
    said += [command("extract", "zendesk.groups").said, command("doctor").said]

    def unforeseen() -> None:
        raise RuntimeError(" ".join(variables(vendors).values()))

    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        assert cli.run(unforeseen) == 2
    said += [err.getvalue(), caplog.text]
    files = [path for path in state_directory.rglob("*") if path.is_file()]
    assert state_directory / "errors.log" in files
    said += [path.read_text("utf-8", "replace") for path in files]
    text = "\n".join(said)
    assert "error:" in text
    assert not [secret for secret in secrets if secret in text]
