from __future__ import annotations

import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from meltano_assets import environment
from meltano_assets.environment import (
    Variable,
    current_environment,
    is_configured,
    settings_from_environment,
    state_directory,
    warehouse_url,
)
from meltano_assets.errors import FatalError

TOKEN = Variable("ZENDESK_API_TOKEN", "api_token", "the token", is_secret=True)
EMAIL = Variable("ZENDESK_EMAIL", "email", "who asks")
VERSION = Variable("API_VERSION", "api_version", "which one", is_required=False, default="v2")
PROXY = Variable("PROXY", "proxy", "a detour", is_required=False)


@pytest.mark.parametrize("name", ["local", "test", "review", "production"])
def test_environment_is_what_the_variable_names(name: str) -> None:
    assert current_environment({"MELTANO_ENVIRONMENT": name}) == name


@pytest.mark.parametrize("environ", [{}, {"MELTANO_ENVIRONMENT": ""}])
def test_environment_is_local_by_default(environ: dict[str, str]) -> None:
    assert current_environment(environ) == "local"


def test_unknown_environment_is_fatal_and_lists_the_known_ones() -> None:
    with pytest.raises(FatalError, match="'prod'") as caught:
        current_environment({"MELTANO_ENVIRONMENT": "prod"})
    assert "local, test, review, production" in str(caught.value)


def test_state_lies_where_the_variable_says(tmp_path: Path) -> None:
    named = tmp_path / "my state"
    assert state_directory({"MELTANO_STATE_DIR": str(named)}) == named.resolve()
    assert state_directory({"MELTANO_STATE_DIR": "~/x"}) == Path.home().resolve() / "x"


def test_state_lies_in_the_projects_root_by_default() -> None:
    assert state_directory({}) == environment.project_root() / ".meltano"


def test_project_root_is_the_clone_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = environment.project_root()
    monkeypatch.chdir(tmp_path)
    clone = Path(environment.__file__).resolve().parent.parent
    assert (clone / "workspace.yaml").is_file()
    assert here == environment.project_root() == clone


def test_dbt_project_is_found_in_the_clone() -> None:
    found = environment.dbt_project_directory()
    assert found.name in ("dbt_project", "_dbt_project")
    assert found.parent in (
        environment.project_root(),
        environment.project_root() / "meltano_assets",
    )


def test_warehouse_is_the_embedded_one_unless_a_url_is_set() -> None:
    assert warehouse_url({}) is None
    url = "postgresql://u:p@db/w"
    assert warehouse_url({"MELTANO_WAREHOUSE_URL": url, "PG_ADDRESS": "other"}) == url


def test_warehouse_url_of_another_kind_is_fatal_and_not_shown() -> None:
    with pytest.raises(FatalError) as caught:
        warehouse_url({"MELTANO_WAREHOUSE_URL": "mysql://user:hunter2@db/w"})
    assert "MELTANO_WAREHOUSE_URL" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_warehouse_url_is_put_together_from_its_parts() -> None:
    parts = {
        "PG_ADDRESS": "2001:db8::1",
        "PG_PORT": "5433",
        "PG_USERNAME": "a@b",
        "PG_PASSWORD": "p:/?#%",
        "PG_DATABASE": "my base",
    }
    url = warehouse_url(parts)
    assert url is not None
    assert conninfo_to_dict(url) == {
        "host": "2001:db8::1",
        "port": "5433",
        "user": "a@b",
        "password": "p:/?#%",
        "dbname": "my base",
    }


@pytest.mark.parametrize(
    ("extra", "url"),
    [
        ({}, "postgresql://db:5432/warehouse"),
        ({"PG_USERNAME": "me"}, "postgresql://me@db:5432/warehouse"),
    ],
)
def test_warehouse_url_has_defaults_for_missing_parts(extra: dict[str, str], url: str) -> None:
    assert warehouse_url({"PG_ADDRESS": "db"} | extra) == url


def test_connection_counts_as_configured_by_any_of_its_variables() -> None:
    assert not is_configured([TOKEN, EMAIL], {"ZENDESK_EMAIL": "", "PATH": "/"})
    assert is_configured([TOKEN, EMAIL], {"ZENDESK_EMAIL": "a@b"})
    assert is_configured([], {}), "nothing to set is nothing missing"


def test_settings_come_by_the_vendors_words_with_defaults() -> None:
    found = settings_from_environment(
        [TOKEN, EMAIL, VERSION, PROXY], {"ZENDESK_API_TOKEN": "t", "ZENDESK_EMAIL": "a@b"}
    )
    assert found == {"api_token": "t", "email": "a@b", "api_version": "v2"}


def test_missing_settings_are_all_named_at_once() -> None:
    with pytest.raises(FatalError) as caught:
        settings_from_environment([TOKEN, EMAIL, VERSION], {"ZENDESK_EMAIL": ""})
    assert "ZENDESK_API_TOKEN (the token)" in str(caught.value)
    assert "ZENDESK_EMAIL (who asks)" in str(caught.value)
    assert "API_VERSION" not in str(caught.value)
    assert ".env.example" in str(caught.value)


def test_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELTANO_ENVIRONMENT", "review")
    monkeypatch.setenv("MELTANO_WAREHOUSE_URL", "postgresql://db/w")
    monkeypatch.setenv("ZENDESK_API_TOKEN", "t")
    assert current_environment() == "review"
    assert warehouse_url() == "postgresql://db/w"
    assert is_configured([TOKEN])
    assert settings_from_environment([TOKEN]) == {"api_token": "t"}


def test_developers_own_settings_do_not_reach_the_tests(tmp_path: Path) -> None:
    assert warehouse_url() is None
    assert state_directory() == (tmp_path / "state").resolve()
    assert not [name for name in os.environ if name.startswith(("SALESFORCE_", "ZENDESK_"))]
