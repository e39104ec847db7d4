"""How dbt is started: where it finds the warehouse, and what was parsed once is not parsed again."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from meltano_assets import modelling
from meltano_assets.environment import dbt_project_directory
from meltano_assets.errors import FatalError


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


def test_what_was_parsed_and_written_once_is_not_again(tmp_path: Path) -> None:
    """Though the embedded server's port differs from start to start."""
    (tmp_path / "dbt_project.yml").write_text("name: small\nprofile: meltano_assets\n")
    models = tmp_path / "models"
    models.mkdir()
    (models / "one.sql").write_text("select 1 as one")
    manifest = tmp_path / "target" / "manifest.json"
    assert "no changes found" not in parse(tmp_path, modelling.offline_variables())
    written = manifest.stat().st_mtime_ns
    served = modelling.dbt_variables("postgresql://meltano:secret@127.0.0.2:54321/warehouse")
    assert "Partial parsing enabled, no changes found" in parse(tmp_path, served)
    assert manifest.stat().st_mtime_ns == written
    (models / "two.sql").write_text("select 2 as two")
    parse(tmp_path, served)
    assert "model.small.two" in json.loads(manifest.read_text())["nodes"]
    manifest.unlink()
    parse(tmp_path, served)
    assert "model.small.two" in json.loads(manifest.read_text())["nodes"]


def test_dagster_reads_json_and_people_read_the_file(tmp_path: Path) -> None:
    """Standard output has the lines of its level only; the file keeps those for debugging."""
    (tmp_path / "dbt_project.yml").write_text("name: small\nprofile: meltano_assets\n")
    project = ["--project-dir", str(tmp_path), "--profiles-dir", str(dbt_project_directory())]
    told = subprocess.run(
        [modelling.dbt_program(), "parse", *project, "--log-path", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, **modelling.offline_variables(), "DBT_LOG_FORMAT": "json"},
        check=True,
        capture_output=True,
        timeout=120,
    ).stdout
    levels = {json.loads(line)["info"]["level"] for line in told.splitlines()}
    assert "info" in levels
    assert "debug" not in levels
    log = (tmp_path / "dbt.log").read_text()
    assert "[debug]" in log
    assert "[info ]" in log
    assert '"level"' not in log


def test_dbt_reaches_the_warehouse_as_its_address_says() -> None:
    """By its certificates, sockets and options too, which dbt's driver reads from variables."""
    address = "postgresql://ann:p%40ss@db.example.com/books?sslmode=verify-full&sslrootcert=/ca.pem"
    given = modelling.dbt_variables(f"{address}&channel_binding=require&options=-cstatement_mem")
    assert given["DBT_HOST"] == "db.example.com"
    assert (given["DBT_PORT"], given["DBT_USER"], given["DBT_PASSWORD"]) == ("5432", "ann", "p@ss")
    assert (given["DBT_DBNAME"], given["PGSSLMODE"]) == ("books", "verify-full")
    assert (given["PGSSLROOTCERT"], given["PGCHANNELBINDING"]) == ("/ca.pem", "require")
    assert given["PGOPTIONS"] == "-cstatement_mem"
    by_socket = modelling.dbt_variables("postgresql:///books?host=/run/postgresql&user=ann")
    assert (by_socket["DBT_HOST"], by_socket["DBT_USER"]) == ("/run/postgresql", "ann")
    either = modelling.dbt_variables("postgresql://ann@a:6432,b:6432/books?target_session_attrs=rw")
    assert (either["DBT_HOST"], either["DBT_PORT"]) == ("a,b", "6432")
    assert either["PGTARGETSESSIONATTRS"] == "rw"
    with pytest.raises(FatalError, match="different ports"):
        modelling.dbt_variables("postgresql://ann@a:1,b:2/books")
