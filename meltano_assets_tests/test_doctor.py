from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import sql

from meltano_assets import shared_process
from meltano_assets.doctor import Finding, diagnose
from meltano_assets.sources import SOURCES
from meltano_assets.warehouse.connection import Warehouse

SECRET = "hunter2-is-a-secret"


@pytest.fixture
def named_warehouse(warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """A warehouse that the environment names, which spares the start of an embedded one."""
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", warehouse.url)
    return warehouse


@pytest.fixture
def reader(warehouse: Warehouse) -> Iterator[str]:
    """A role that may connect and nothing else."""
    name = f"reader_of_{warehouse.database}"
    role = sql.Identifier(name)
    with warehouse.connect() as connection:
        create = sql.SQL("create role {} login password {}")
        connection.execute(create.format(role, sql.Literal(SECRET)))
    yield name
    with warehouse.connect() as connection:
        connection.execute(sql.SQL("drop owned by {role}; drop role {role}").format(role=role))


def about(name: str) -> list[Finding]:
    return [finding for finding in diagnose() if finding.name == name]


def worst(name: str) -> Finding:
    return max(about(name), key=lambda finding: ("ok", "warn", "fail").index(finding.status))


def test_healthy_machine_has_nothing_to_do(named_warehouse: Warehouse) -> None:
    findings = diagnose()
    assert not [finding for finding in findings if finding.status == "fail"]
    assert {"python", "packages", "state folder", "warehouse", "clock", "dbt"} <= {
        finding.name for finding in findings if finding.status == "ok"
    }
    assert named_warehouse.place in worst("warehouse").message


def test_embedded_server_is_started_for_the_look_and_stops_again(state_directory: Path) -> None:
    finding = worst("warehouse")
    assert finding.status == "ok"
    assert "embedded" in finding.message
    assert shared_process.wait_until_ended(state_directory / "postgres", 60.0)


def test_every_step_and_no_secret_is_told(
    named_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for source in SOURCES:
        for variable in source.variables:
            if variable.is_secret:
                monkeypatch.setenv(variable.name, SECRET)
    for finding in diagnose():
        assert finding.message
        assert finding.status == "ok" or finding.next_step, finding
        assert SECRET not in repr(finding)
        assert str(named_warehouse.parameters["password"]) not in repr(finding)


def test_unreachable_warehouse_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", f"postgresql://me:{SECRET}@127.0.0.1:{port}/w")
    finding = worst("warehouse")
    assert finding.status == "fail"
    assert f"127.0.0.1:{port}/w is not reachable" in finding.message
    assert "MELTANO_WAREHOUSE_URL" in finding.next_step
    assert SECRET not in repr(finding)


def test_wrong_password_is_told_apart(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = warehouse.url.replace(quote(warehouse.parameters["password"], safe=""), SECRET)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", url)
    finding = worst("warehouse")
    assert finding.status == "fail"
    assert "login refused" in finding.message
    assert SECRET not in repr(finding)


def test_missing_right_comes_with_the_statement_that_gives_it(
    warehouse: Warehouse, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, database = warehouse.parameters["port"], warehouse.database
    url = f"postgresql://{reader}:{SECRET}@127.0.0.1:{port}/{database}"
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", url)
    finding = worst("warehouse")
    assert finding.status == "fail"
    assert f'grant create on database "{database}" to "{reader}"' in finding.next_step
    with warehouse.connect() as connection:
        connection.execute(finding.next_step.split(": ", 1)[1].encode())
    assert worst("warehouse").status == "ok"


def test_read_only_warehouse_is_found(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = quote("-c default_transaction_read_only=on")
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", f"{warehouse.url}?options={options}")
    finding = worst("warehouse")
    assert finding.status == "fail"
    assert "read-only" in finding.message


def test_state_folder_that_cannot_be_made_is_found(
    named_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MELTANO_STATE_DIR", str(tmp_path / "file" / "state"))
    finding = worst("state folder")
    assert finding.status == "fail"
    assert "MELTANO_STATE_DIR" in finding.next_step


def test_state_folder_open_to_others_is_a_warning(
    named_warehouse: Warehouse, state_directory: Path
) -> None:
    state_directory.chmod(0o777)
    finding = worst("state folder")
    assert finding.status == "warn"
    assert finding.next_step == f"chmod 700 '{state_directory}'"


def test_half_configured_vendor_is_told_what_is_missing(
    named_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "sandbox" in worst("zendesk").message
    monkeypatch.setenv("ZENDESK_EMAIL", "me@example.com")
    finding = worst("zendesk")
    assert finding.status == "fail"
    assert "ZENDESK_API_TOKEN" in finding.message
    monkeypatch.setenv("ZENDESK_API_TOKEN", SECRET)
    monkeypatch.setenv("ZENDESK_BASE_URL", "https://example.zendesk.com")
    assert worst("zendesk").status == "ok"


def test_nothing_stands_in_for_a_vendor_in_production(
    named_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "production")
    for source in SOURCES:
        finding = worst(source.name)
        assert finding.status == "fail"
        assert source.variables[0].name in finding.next_step or "set " in finding.next_step
    assert worst("clearbit").status == "warn"


def test_unknown_environment_is_found_and_does_not_hide_the_rest(
    named_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "prod")
    assert worst("environment").status == "fail"
    assert worst("python").status == "ok"
    assert worst("dbt").status == "ok"


def test_taken_port_of_the_user_interface_is_a_warning(named_warehouse: Warehouse) -> None:
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with taken:
        try:
            taken.bind(("127.0.0.1", 3000))
            taken.listen()
        except OSError:
            pass  # Somebody else has it, which is as good.
        assert worst("user interface").status == "warn"


def test_roles_that_cannot_be_read_or_applied_are_told(
    named_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    assert about("roles") == []
    file = tmp_path / "roles.yaml"
    file.write_text("""ann: {can_login: yes, attributes: ["PASSWORD \\"{{ env['ANNS'] }}\\""]}""")
    assert worst("roles").status == "warn"
    assert worst("roles").message.endswith("not set: ANNS")
    monkeypatch.setenv("ANNS", SECRET)
    assert worst("roles").status == "ok"
    file.write_text("ann: {can_logon: yes}")
    assert worst("roles").status == "fail"
    assert "unknown word 'can_logon'" in worst("roles").message
