"""The demo's course: start, move the company on, run the graph, tell, stop what was started.

A second demo goes on from the first: the company has lived one more day, the sources are read
from their bookmarks and the sync sends what is new.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from meltano_assets import connections, environment, run_workers
from meltano_assets.demo.report import print_report
from meltano_assets.demo.story import Story
from meltano_assets.errors import FatalError, RetriableError, SkippableError

if TYPE_CHECKING:
    import dagster as dg


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
        _live_another_day(out)
    with out.status("Reading the graph ..."):
        from meltano_assets.definitions import defs

        definitions = defs()
        job = definitions.resolve_job_def("everything")
    with _instance() as instance:
        _alone_in_the_pools(instance, out)
        story = Story(out, _groups(definitions))
        with story:
            result = _execute(job, instance, story)
    print_report(out, story, time.monotonic() - began, is_first=is_first)
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
        if answer.status_code == requests.codes.conflict:
            raise SkippableError(answer.json()["error"], source="sandbox")
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
    from psycopg import sql

    from meltano_assets import shared_process
    from meltano_assets.warehouse.connection import Warehouse

    sandbox = environment.state_directory() / "sandbox"
    if shared_process.announcement(sandbox) is not None:
        raise FatalError("the sandbox is in use", hint="stop ./run dev and other demos first")
    shutil.rmtree(sandbox / "company", ignore_errors=True)
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


def _live_another_day(out: Console) -> None:
    try:
        changes = advance_company(1)
    except SkippableError:
        out.print(
            "The company has caught up with the present; nothing is new. --fresh begins anew."
        )
        return
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


def _alone_in_the_pools(instance: dg.DagsterInstance, out: Console) -> None:
    """End runs whose process is gone; refuse while another one reads the same sources.

    Dagster would wait for that run's places in the pools, without a word and deaf to Ctrl-C.
    """
    for run_id, reason in run_workers.end_abandoned_runs(instance).items():
        out.print(f"The run {run_id[:8]} did not end; {reason}. What it left is done now.")
    held = instance.event_log_storage.get_concurrency_run_ids()
    if held:
        raise RetriableError(
            f"the run {min(held)[:8]} is reading the sources",
            hint="let it end first, or terminate it in the Dagster UI: ./run dev, then Runs",
        )


def _execute(job: Any, instance: dg.DagsterInstance, story: Story) -> bool:
    run_id = str(uuid.uuid4())
    log = environment.state_directory() / "demo.log"
    instance.add_event_listener(run_id, story.hear)
    with log.open("w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            tags=run_workers.machine_tags(),
            run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
        )
    return bool(result.success)


def _groups(definitions: dg.Definitions) -> dict[str, str]:
    """Asset key → group, for everything that the graph materializes."""
    graph = definitions.resolve_asset_graph()
    return {
        key.to_user_string(): graph.get(key).group_name or ""
        for key in graph.materializable_asset_keys
    }


def _serve_ui(out: Console, port: int) -> None:
    root = environment.project_root()
    out.print(f"\nThe Dagster UI: [bold]http://127.0.0.1:{port}[/]  (Ctrl-C stops it)")
    log = environment.state_directory() / "ui.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)],
            cwd=root,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
        try:
            process.wait()
        except KeyboardInterrupt:
            process.wait(timeout=30)
