"""How dbt is started: what was parsed once is not parsed again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from meltano_assets import modelling
from meltano_assets.environment import dbt_project_directory


def parse(project: Path, variables: dict[str, str]) -> str:
    """Let dbt parse the project; what it logs."""
    log = project / "dbt.log"
    log.unlink(missing_ok=True)
    profiles = str(dbt_project_directory())
    subprocess.run(
        [
            modelling.dbt_program(),
            "--quiet",
            "parse",
            "--profiles-dir",
            profiles,
            "--log-path",
            ".",
        ],
        cwd=project,
        env={**os.environ, **variables},
        check=True,
        timeout=120,
    )
    return log.read_text()


def test_a_project_parsed_without_a_database_is_not_parsed_again_for_one(tmp_path: Path) -> None:
    """The embedded server's port differs from start to start."""
    (tmp_path / "dbt_project.yml").write_text("name: small\nprofile: meltano_assets\n")
    models = tmp_path / "models"
    models.mkdir()
    (models / "one.sql").write_text("select 1 as one")
    assert "no changes found" not in parse(tmp_path, modelling.offline_variables())
    served = modelling.dbt_variables("postgresql://meltano:secret@127.0.0.2:54321/warehouse")
    assert "Partial parsing enabled, no changes found" in parse(tmp_path, served)
