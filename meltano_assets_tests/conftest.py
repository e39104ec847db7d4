"""Fixtures for every test: a real Postgres, a clean environment, the shared fixture files."""

from __future__ import annotations

import fcntl
import gc
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import hypothesis
import pytest

from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.environment import state_directory as local_state
from meltano_assets.modelling import compile_classes_when_needed
from meltano_assets.warehouse import server as embedded
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.databases import Databases

# How quick a busy machine makes examples says nothing of the product. The same examples in every run:
# `--hypothesis-profile default` looks for others.
hypothesis.settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")

SHARED_FIXTURES = "MELTANO_SHARED_FIXTURES"
TEST_SERVER = "MELTANO_TEST_SERVER"

#: Variables of the developer's own set-up that must not reach a test.
_OWN_PREFIXES = (
    "MELTANO_",
    "PG",
    "DAGSTER_",
    "DBT_",
    "SALESFORCE_",
    "ZENDESK_",
    "NETSUITE_",
    "MARKETO_",
    "LEVER_",
    "VERSION_DB_",
    "DISCOVERORG_",
    "CLEARBIT_",
    "RDAP_",
    "WHOIS_",
    "DNS_",
)


# Dagster, dbt and Arrow make a million objects that stay: looking through all of them for
# cycles again and again finds nothing.
gc.set_threshold(100_000, 50, 100)
compile_classes_when_needed()

# What a shell starts in the background ignores Ctrl-C, and so would all that the tests start and stop.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Files that share what takes long to make: one worker makes it once.
_TOGETHER = {
    "dbt_project/test_project.py": "the project built over nothing",
    "dbt_project/test_builds.py": "the project built over nothing",
    "dbt_project/test_grants.py": "the project built over nothing",
    "dbt_project/test_hosts_day.py": "the project built over nothing",
}
#: The longest first, so that no worker ends with one while the other waits.
_LONG = (
    "test_main_job.py",
    *_TOGETHER,
    "sources/test_standard.py",
    "test_bad_input.py",
    "warehouse/test_kill.py",
    "sources/test_faults.py",
    "dbt_project/test_company.py",
    "dbt_project/test_second_organisation.py",
    "dbt_project/test_bad_data.py",
    "test_daemon.py",
    "test_ui.py",
    "test_connections.py",
    "test_shared_process.py",
    "warehouse/test_server.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order files by how long they take."""
    here = Path(__file__).parent
    ranks = {here / name: rank for rank, name in enumerate(_LONG)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files go to workers whole, and those that belong together to one of them."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return _TOGETHER.get(file.partition("/")[2], file)

    return Scheduling(config, log)


def forget_own_settings(patch: pytest.MonkeyPatch) -> None:
    """The process without the developer's variables."""
    for name in list(os.environ):
        if name.startswith(_OWN_PREFIXES) and name not in (SHARED_FIXTURES, TEST_SERVER):
            patch.delenv(name)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of the developer's shell are gone; local state goes to the test's own folder."""
    forget_own_settings(monkeypatch)
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path / "state"))


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    """Waits until a claim about another process holds; fails when it doesn't in time."""

    def wait(claim: Callable[[], object], seconds: float = 15.0) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline, f"not within {seconds} s: {claim}"
            time.sleep(0.01)

    return wait


@pytest.fixture
def state_directory(tmp_path: Path) -> Path:
    """Where this test's local state goes; MELTANO_STATE_DIR names it too."""
    directory = tmp_path / "state"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[embedded.EmbeddedServer]:
    """An embedded Postgres for the session (for each worker its own), without fsync.

    MELTANO_TEST_SERVER names another one, of another version say, by the URL of its superuser
    ``meltano`` on 127.0.0.1; with ``-n 1``, since workers would meet in its databases.
    """
    directory = tmp_path_factory.mktemp("server")
    if named := os.environ.get(TEST_SERVER):
        parts = urlsplit(named)
        yield embedded.EmbeddedServer(parts.port or 5432, directory, unquote(parts.password or ""))
        return
    with embedded.attach(directory, fsync=False, grace_seconds=0.2) as running:
        yield running
    embedded.stop(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def databases(server: embedded.EmbeddedServer) -> Databases:
    """The server's databases for tests."""
    return Databases(server)


@pytest.fixture
def warehouse(databases: Databases) -> Iterator[Warehouse]:
    """An empty database of this test's own."""
    taken = databases.take()
    yield taken
    databases.give_back(taken)


@pytest.fixture(scope="module")
def dbt_warehouse(databases: Databases) -> Warehouse:
    """A new database for the tests of one file, of the name that what dbt parsed is for."""
    return databases.make(WAREHOUSE_DATABASE)


@pytest.fixture(scope="session")
def parsed_by_dbt() -> Callable[[Path], None]:
    """Puts what dbt parsed of the project into a target folder, where dbt compares and goes on.

    Parsing all takes nine seconds; it is done once for a clone, as for every run of the demo.
    """
    from meltano_assets.assets.dbt import PARSED, dbt_project

    with pytest.MonkeyPatch.context() as patch:
        forget_own_settings(patch)
        folder = local_state()
        folder.mkdir(exist_ok=True)
        with (folder / "tests.lock").open("w") as lock:
            # Workers that come together would write the same files.
            fcntl.flock(lock, fcntl.LOCK_EX)
            parsed = Path(dbt_project().target_path)

    def put(target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        for name in ("manifest.json", PARSED):
            shutil.copyfile(parsed / name, target / name)

    return put


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """The folder of fixture files shared between projects; skips where it isn't checked out."""
    named = os.environ.get(SHARED_FIXTURES)
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "fixtures"
    folder = Path(named) if named else beside
    if not folder.is_dir():
        pytest.skip(f"the shared fixtures are not there: set {SHARED_FIXTURES} to their folder")
    return folder
