"""The verbs ``roles plan``, ``apply`` and ``check``, as a user runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meltano_assets import connections, roles
from meltano_assets.connections import WAREHOUSE_DATABASE
from meltano_assets.warehouse.connection import Warehouse
from meltano_assets_tests.command_line import command
from meltano_assets_tests.warehouse.role_server import PASSWORD, RoleServer

FILE = """
~ann:
  can_login: yes
  attributes:
    - PASSWORD "{{ env['ANNS_PASSWORD'] }}"
  privileges:
    schemas: {read: [crm]}
    tables: {read: [crm.*]}
"""


@pytest.fixture
def house(
    dbt_warehouse: Warehouse,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    parsed_by_dbt: Callable[[Path], None],
) -> Iterator[RoleServer]:
    """The warehouse that the command works on, and a folder for users' files."""
    parsed_by_dbt(tmp_path / "state" / "dbt" / WAREHOUSE_DATABASE)
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", dbt_warehouse.url)
    monkeypatch.setenv("MELTANO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("ANNS_PASSWORD", PASSWORD)
    house = RoleServer(dbt_warehouse, tmp_path)
    house.execute("create schema if not exists crm", "create table crm.accounts (id int)")
    yield house
    house.execute("drop schema crm cascade")
    house.clean()
    connections.warehouse.cache_clear()


def test_roles_are_planned_applied_and_checked(
    house: RoleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.file(FILE)
    planned = command("roles", "plan")
    assert planned.code == 0, planned.said
    assert house.name('grant select on "crm"."accounts" to "~ann";') in planned.out
    assert "nothing was changed → meltano-assets roles apply" in planned.out
    assert command("roles", "check").code == 1
    applied = command("roles", "apply")
    assert applied.code == 0, applied.said
    assert "executed in one transaction" in applied.out
    assert PASSWORD not in planned.said + applied.said
    assert "nothing to do: 1 role is as roles.yaml says" in command("roles", "plan").out
    assert command("roles", "check").code == 0
    with house.login("~ann") as ann:
        assert ann.may("select * from crm.accounts")

    house.execute("grant delete on crm.accounts to ~ann")
    drifted = command("roles", "check")
    assert drifted.code == 1
    assert house.name('revoke delete on "crm"."accounts" from "~ann";') in drifted.out
    assert "1 statement away from the file → meltano-assets roles apply" in drifted.out
    # Who checks needs no passwords; who applies does.
    monkeypatch.delenv("ANNS_PASSWORD")
    assert command("roles", "check").code == 1
    refused = command("roles", "apply")
    assert refused.code == 2
    assert "ANNS_PASSWORD is not set (set it in the environment or in the file .env" in (
        refused.err
    )


def test_what_cannot_be_done_ends_with_2(house: RoleServer, tmp_path: Path) -> None:
    house.file(FILE + "    sequences: {read: [nowhere.*]}\n")
    planned = command("roles", "plan")
    assert planned.code == 2
    assert "there is no schema nowhere (a first load or dbt build makes it" in planned.err
    assert command("roles", "apply").code == 2
    (tmp_path / "other.yml").write_text("")
    misnamed = command("roles", "check", "--file", str(tmp_path / "other.yaml"))
    assert "other.yaml (rename other.yml)" in misnamed.err
    missing = command("roles", "check", "--file", str(tmp_path / "none.yaml"))
    assert missing.code == 2
    assert "none.yaml (docs/roles.md begins with an example)" in missing.err


def test_passwords_of_roles_are_known_secrets(house: RoleServer) -> None:
    house.file(FILE)
    assert roles.password_variables() == {"ANNS_PASSWORD"}
    assert PASSWORD in connections.known_secrets()
