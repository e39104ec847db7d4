"""Dagster instances as users have them: runs and events in Postgres."""

from __future__ import annotations

from pathlib import Path


def dagster_home(folder: Path) -> Path:
    """Dagster's home with the storage of ``dagster.yaml``, on what the environment names."""
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "storage:\n  custom:\n    module: meltano_assets.instance\n"
        "    class: PlatformStorage\n    config: {}\n"
        "telemetry:\n  enabled: false\n"
    )
    return home
