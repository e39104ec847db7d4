"""The demo: the whole graph against the sandbox company, on embedded parts, told as it happens.

Everything it starts it stops. A second demo goes on from the first: the company has lived one more
day, the sources are read from their bookmarks and the sync sends what is new.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from meltano_assets import connections, environment
from meltano_assets.errors import FatalError, RetriableError

if TYPE_CHECKING:
    import dagster as dg

#: The hops of the graph in the order in which data passes them.
HOPS = ("sources", "hosts", "dbt", "sync")


@dataclass(slots=True)
class AssetAccount:
    """What one asset reported in this run."""

    key: str
    hop: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    passed: int = 0
    failed: int = 0
    failed_checks: list[str] = field(default_factory=list)


def run_demo(out: Console, *, ui: bool = False, fresh: bool = False, port: int = 3000) -> int:
    """Run it; returns the exit code: 0 when every step and every blocking check passed."""
    began = time.monotonic()
    _needs_no_vendor()
    if fresh:
        _forget()
    with out.status("Starting Postgres and the sandbox company ..."):
        connections.warehouse()
        connections.sandbox_manifest()
    is_first = not _has_loads()
    if not is_first:
        _tell_changes(out, advance_company(1))
    with out.status("Reading the graph ..."):
        from meltano_assets.definitions import defs

        definitions = defs()
        job = definitions.resolve_job_def("everything")
    with _instance() as instance:
        story = _Story(out, _hop_sizes(definitions))
        with story:
            result = _execute(job, instance, story)
    _summary(out, story, time.monotonic() - began, is_first=is_first)
    if ui:
        _serve_ui(out, port)
    else:
        out.print("\nSee it in the Dagster UI: [bold]./run dev[/]  →  http://127.0.0.1:3000")
    return 0 if result else 1


def advance_company(days: int) -> dict[str, Any]:
    """Let the running sandbox company live that many days; returns what changed at its vendors."""
    import requests

    control = connections.sandbox_manifest()["control"]["base_url"]
    try:
        answer = requests.post(f"{control}/advance", params={"days": days}, timeout=60)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise RetriableError(
            f"the company did not advance ({type(error).__name__})", source="sandbox"
        ) from None
    changes: dict[str, Any] = answer.json()
    return changes


def _needs_no_vendor() -> None:
    from meltano_assets.sources import SOURCES

    configured = [s.name for s in SOURCES if environment.is_configured(s.variables)]
    if configured:
        raise FatalError(
            f"the demo runs on the sandbox, but variables of {', '.join(configured)} are set",
            hint="unset them, or use ./run dev to work with your own systems",
        )


def _forget() -> None:
    """Remove the demo's warehouse and company; refuses to touch a warehouse of the user's."""
    if environment.warehouse_url():
        raise FatalError(
            "--fresh empties only the embedded warehouse, and another one is set",
            hint=f"unset {environment.WAREHOUSE_URL}",
        )
    company = environment.state_directory() / "sandbox" / "company"
    shutil.rmtree(company, ignore_errors=True)
    from psycopg import sql

    from meltano_assets.warehouse.connection import Warehouse

    server = Warehouse(connections.embedded_server().url("postgres"))
    with server.connect(autocommit=True) as connection:
        for database in (connections.WAREHOUSE_DATABASE, "sandbox_version"):
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database))
            )


def _has_loads() -> bool:
    with connections.warehouse().connect() as connection:
        row = connection.execute("select to_regclass('meltano.load_log')").fetchone()
        if row is None or row[0] is None:
            return False
        some = connection.execute("select exists (select from meltano.load_log)").fetchone()
    return bool(some and some[0])


def _tell_changes(out: Console, changes: Mapping[str, Any]) -> None:
    out.print(f"The company has lived on to [bold]{changes.get('today', 'the next day')}[/]:")
    for vendor, counts in changes.items():
        if isinstance(counts, Mapping) and counts:
            told = ", ".join(f"{name} {count}" for name, count in counts.items())
            out.print(f"  {vendor:12} {told}", highlight=False)


@contextlib.contextmanager
def _instance() -> Iterator[dg.DagsterInstance]:
    """Dagster's instance of ``dagster.yaml``, but without capturing the terminal's output."""
    import dagster as dg
    import yaml

    home = environment.state_directory() / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    config = yaml.safe_load((environment.project_root() / "dagster.yaml").read_text())
    config["compute_logs"] = {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def _execute(job: Any, instance: dg.DagsterInstance, story: _Story) -> bool:
    run_id = str(uuid.uuid4())
    log = environment.state_directory() / "demo.log"
    instance.add_event_listener(run_id, story.hear)
    with log.open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    return bool(result.success)


def _hop(group: str | None) -> str:
    group = group or ""
    if group.startswith("raw/"):
        return "sources"
    if group in ("hosts", "enrichment"):
        return "hosts"
    return "sync" if group == "salesforce_sync" else "dbt"


def _hop_sizes(definitions: dg.Definitions) -> dict[str, str]:
    """Asset key → hop, for everything that the graph materializes."""
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): _hop(graph.get(key).group_name)
        for key in graph.materializable_asset_keys
    }


class _Story:
    """Listens to the run and shows it: a bar for each hop, or a line for each asset."""

    def __init__(self, out: Console, hops: Mapping[str, str]) -> None:
        self.out = out
        self.hops = hops
        self.accounts: dict[str, AssetAccount] = {}
        self.failures: list[str] = []
        self._is_live = out.is_terminal
        self._console = Console(file=sys.__stdout__) if self._is_live else out
        self._progress = Progress(
            TextColumn("{task.description:9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=self._console,
            disable=not self._is_live,
        )
        sizes = Counter(hops.values())
        self._tasks = {
            hop: self._progress.add_task(hop, total=sizes[hop], now="", start=False)
            for hop in HOPS
            if sizes[hop]
        }

    def __enter__(self) -> _Story:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def hear(self, entry: Any) -> None:
        """One event of the run."""
        event = entry.dagster_event
        if event is None:
            return
        kind = event.event_type_value
        if kind == "ASSET_MATERIALIZATION_PLANNED" and event.asset_key:
            self._begin(event.asset_key.to_user_string())
        elif kind == "ASSET_MATERIALIZATION":
            materialization = event.step_materialization_data.materialization
            self._landed(materialization.asset_key.to_user_string(), materialization.metadata)
        elif kind == "ASSET_CHECK_EVALUATION":
            self._checked(event.asset_check_evaluation_data)
        elif kind == "STEP_START":
            self._now(event.step_key)
        elif kind == "STEP_FAILURE":
            error = event.step_failure_data.user_failure_data
            cause = error.description if error else event.step_failure_data.error_display_string
            lines = [line for line in (cause or "").strip().splitlines() if line.strip()]
            self.failures.append(f"{event.step_key}: {lines[-1] if lines else 'failed'}")

    def _account(self, key: str) -> AssetAccount:
        return self.accounts.setdefault(key, AssetAccount(key, self.hops.get(key, "dbt")))

    def _begin(self, key: str) -> None:
        self._account(key)

    def _now(self, step_key: str) -> None:
        name = step_key.replace("__", "/")
        account = self.accounts.get(name)
        hop = account.hop if account else ("dbt" if "dbt" in step_key else None)
        if hop in self._tasks:
            self._progress.start_task(self._tasks[hop])
            self._progress.update(self._tasks[hop], now=name)

    def _landed(self, key: str, metadata: Mapping[str, Any]) -> None:
        account = self._account(key)
        account.facts = {name: getattr(value, "value", None) for name, value in metadata.items()}
        if account.hop in self._tasks:
            task = self._tasks[account.hop]
            self._progress.start_task(task)
            self._progress.update(task, advance=1, now=key)
        if not self._is_live:
            self.out.print(f"  {account.hop:8} {key}", highlight=False)

    def _checked(self, evaluation: Any) -> None:
        account = self._account(evaluation.asset_key.to_user_string())
        if evaluation.passed:
            account.passed += 1
        else:
            account.failed += 1
            account.failed_checks.append(evaluation.check_name)


def _summary(out: Console, story: _Story, seconds: float, *, is_first: bool) -> None:
    table = Table(box=None, pad_edge=False, title="What landed where", title_justify="left")
    table.add_column("asset")
    for name in ("read", "loaded", "unchanged", "quarantined", "seconds", "checks"):
        table.add_column(name, justify="right")
    for account in sorted(story.accounts.values(), key=lambda a: (HOPS.index(a.hop), a.key)):
        facts = account.facts
        table.add_row(account.key, *_cells(facts), _checks_cell(account))
    out.print()
    out.print(table)
    for line in _headlines():
        out.print(line, highlight=False)
    for failure in story.failures:
        out.print(f"[red]failed[/] {failure}", highlight=False)
    for account in story.accounts.values():
        for check in account.failed_checks:
            out.print(f"[yellow]check failed[/] {account.key}: {check}", highlight=False)
    what = "First run" if is_first else "Incremental run"
    out.print(f"\n{what}: {len(story.accounts)} assets in {seconds:.0f} s.", highlight=False)


def _cells(facts: Mapping[str, Any]) -> list[str]:
    if "read" in facts:
        loaded = (facts.get("inserted") or 0) + (facts.get("updated") or 0)
        cells = [facts["read"], loaded, facts.get("unchanged"), facts.get("quarantined")]
    elif "sent" in facts:
        cells = [facts.get("planned"), facts["sent"], facts.get("unchanged"), facts.get("parked")]
    else:
        cells = [None, facts.get("dagster/row_count"), None, None]
    seconds = facts.get("seconds", facts.get("Execution Duration"))
    texts = ["" if cell is None else f"{cell:,}" for cell in cells]
    return [*texts, "" if seconds is None else f"{seconds:.1f}"]


def _checks_cell(account: AssetAccount) -> str:
    if account.failed:
        return f"[red]{account.passed} of {account.passed + account.failed}[/]"
    return f"[green]{account.passed} ✓[/]" if account.passed else ""


def _headlines() -> list[str]:
    return []


def _serve_ui(out: Console, port: int) -> None:
    root = environment.project_root()
    out.print(f"\nThe Dagster UI: [bold]http://127.0.0.1:{port}[/]  (Ctrl-C stops it)")
    log = environment.state_directory() / "ui.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)],
            cwd=root,
            env={
                **os.environ,
                "DAGSTER_HOME": str(Path(environment.state_directory() / "dagster")),
            },
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait()
        except KeyboardInterrupt:
            process.wait(timeout=30)
