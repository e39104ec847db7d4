"""Listens to a run and shows it while it happens: a bar for each hop, or a line for each asset."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: The hops of the graph in the order in which data passes them.
HOPS = ("sources", "hosts", "dbt", "sync")


@dataclass(slots=True)
class AssetAccount:
    """What one asset reported in this run."""

    key: str
    hop: str
    group: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    passed: int = 0
    failed: int = 0
    failed_checks: list[str] = field(default_factory=list)


def _hop(group: str | None) -> str:
    group = group or ""
    if group.startswith("raw/"):
        return "sources"
    if group in ("hosts", "enrichment"):
        return "hosts"
    return "sync" if group == "salesforce_sync" else "dbt"


class Story:
    """Listens to the run and shows it: a bar for each hop, or a line for each asset."""

    def __init__(self, out: Console, groups: Mapping[str, str]) -> None:
        self.out = out
        self.groups = groups
        self.accounts: dict[str, AssetAccount] = {}
        self.failures: list[str] = []
        self._began = time.monotonic()
        self._is_live = out.is_terminal
        # Bound to the terminal now: the run itself prints into a log.
        self._console = Console(file=out.file, force_terminal=self._is_live)
        self._progress = Progress(
            TextColumn("{task.description:9}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[now]}"),
            console=self._console,
            disable=not self._is_live,
        )
        sizes = Counter(map(_hop, groups.values()))
        self._tasks = {
            hop: self._progress.add_task(hop, total=sizes[hop], now="", start=False)
            for hop in HOPS
            if sizes[hop]
        }

    def __enter__(self) -> Story:
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
        group = self.groups.get(key, "")
        return self.accounts.setdefault(key, AssetAccount(key, _hop(group), group))

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
        if self._is_live and account.hop in self._tasks:
            task = self._tasks[account.hop]
            self._progress.start_task(task)
            self._progress.update(task, advance=1, now=key)

        else:
            seconds = time.monotonic() - self._began
            self._console.print(f"{seconds:6.1f} s  {account.hop:8} {key}", highlight=False)

    def _checked(self, evaluation: Any) -> None:
        account = self._account(evaluation.asset_key.to_user_string())
        if evaluation.passed:
            account.passed += 1
        else:
            account.failed += 1
            account.failed_checks.append(evaluation.check_name)
