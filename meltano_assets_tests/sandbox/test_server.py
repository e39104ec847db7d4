"""The running sandbox: its start and end, its clock, its control service, its misbehaviour."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
import uvicorn

from meltano_assets.sandbox.addresses import SERVICES
from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.databases import DATABASES
from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets.sandbox.faults import FaultBox, parse_fault
from meltano_assets.sandbox.server import Options, serve_in_thread
from meltano_assets.sandbox.server import Sandbox as Running
from meltano_assets.sandbox.service import METADATA
from meltano_assets.sandbox.state import CompanyClock, StateFolder
from meltano_assets.warehouse.server import EmbeddedServer
from meltano_assets_tests.command_line import command
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox

READY_SECONDS = 30


@contextmanager
def process(*arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """The sandbox as a process of its own, with what it announced."""
    command = [
        sys.executable,
        "-m",
        "meltano_assets.sandbox",
        "--json",
        "--scale",
        "0.02",
        *arguments,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, "it ended before it was ready"
            yield json.loads(line), running
        finally:
            running.kill()


def groups_url(sandbox: Sandbox) -> tuple[str, tuple[str, str]]:
    """A cheap address of Zendesk's, and the login."""
    settings = sandbox.manifest["zendesk"]
    login = (f"{settings['email']}/token", settings["api_token"])
    return settings["base_url"] + "/api/v2/groups.json", login


def test_a_process_announces_itself_and_stops_cleanly(
    tmp_path: Path, server: EmbeddedServer
) -> None:
    state = tmp_path / "with a space"
    began = time.monotonic()
    arguments = ("--state-dir", str(state), "--postgres-url", server.url("postgres"))
    with process(*arguments) as (manifest, running):
        assert time.monotonic() - began < READY_SECONDS
        assert set(manifest) == {*SERVICES, *DATABASES} - {"whois_chain"}
        for service in ("salesforce", "zendesk", "discoverorg", "clearbit", "control"):
            assert manifest[service]["base_url"].startswith("http://127.0.0.1:")
            assert not manifest[service]["base_url"].endswith("/")
        with psycopg.connect(manifest["version"]["url"]) as connection:
            assert connection.execute("select count(*) from usage_data").fetchone() > (0,)
        salesforce = manifest["salesforce"]
        token = requests.post(
            salesforce["login_url"] + "/services/oauth2/token",
            data={
                "grant_type": "refresh_token",
                **{n: salesforce[n] for n in ("client_id", "client_secret", "refresh_token")},
            },
            timeout=10,
        )
        assert token.json()["instance_url"] == salesforce["base_url"]
        assert api_usage(salesforce, token.json()["access_token"]) == 1
        control = manifest["control"]["base_url"]
        assert requests.get(f"{control}/manifest", timeout=10).json() == manifest
        running.send_signal(signal.SIGTERM)
        assert running.wait(10) == 0
    with process(*arguments) as (again, running):
        assert again == manifest
        assert api_usage(salesforce, token.json()["access_token"]) == 2
        running.send_signal(signal.SIGINT)
        assert running.wait(10) == 0
    assert (state / "credentials.json").stat().st_mode & 0o077 == 0


def api_usage(salesforce: dict[str, str], token: str) -> int:
    """The number of the day's requests, as Salesforce tells it with every answer."""
    answer = requests.get(
        f"{salesforce['base_url']}/services/data/v{salesforce['api_version']}/limits",
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )
    used, _, _ = answer.headers["Sforce-Limit-Info"].removeprefix("api-usage=").partition("/")
    return int(used)


def free_base() -> int:
    """The first of enough free ports in a row, below those that the system hands out."""
    for base in range(21_000, 30_000, 20):
        with ExitStack() as stack:
            try:
                for port in range(base, base + len(SERVICES)):
                    stack.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return base
    raise AssertionError("no free ports")


def test_a_fixed_port_base_gives_consecutive_ports(tmp_path: Path) -> None:
    base = free_base()
    with serve_in_thread(state_dir=tmp_path / "a", scale=0.02, port_base=base) as manifest:
        assert manifest["salesforce"]["base_url"] == f"http://127.0.0.1:{base}"
        assert manifest["control"]["base_url"] == f"http://127.0.0.1:{base + 7}"
        with (
            pytest.raises(OSError, match=f"port {base} for salesforce"),
            serve_in_thread(state_dir=tmp_path / "b", scale=0.02, port_base=base),
        ):
            pass


def test_a_state_folder_keeps_its_company(tmp_path: Path) -> None:
    with serve_in_thread(state_dir=tmp_path, seed=5, scale=0.02, today=TODAY) as manifest:
        Sandbox(manifest).advance(2)
        before = Sandbox(manifest).truths()
    with serve_in_thread(state_dir=tmp_path, seed=5, scale=0.02, today=date(2025, 9, 9)) as again:
        assert Sandbox(again).truths() == before
        assert before["day"] == 2
    with pytest.raises(ValueError, match="holds the company of seed 5"):
        Running(Options(tmp_path, seed=6, scale=0.02))


def test_the_page_lists_services_credentials_and_the_clock(sandbox: Sandbox) -> None:
    page = requests.get(sandbox.control, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    for service, settings in sandbox.manifest.items():
        if service == "control":
            continue
        assert f"<th>{service}</th>" in page.text
        assert all(str(value) in page.text for value in settings.values())
        assert all(kind in page.text for kind in KINDS.get(service, ()))
    assert "Day 0" in page.text


def test_control_answers_to_its_own_name_only(sandbox: Sandbox) -> None:
    for host in ("evil.example", "localhost.evil.example:80"):
        answer = requests.get(f"{sandbox.control}/manifest", headers={"Host": host}, timeout=10)
        assert answer.status_code == 421


def test_the_company_does_not_overtake_the_present(tmp_path: Path) -> None:
    today = datetime.now(UTC).date()
    with serve_in_thread(state_dir=tmp_path, scale=0.02, today=today) as manifest:
        control = manifest["control"]["base_url"]
        late = requests.post(f"{control}/advance", params={"days": 31}, timeout=10)
        assert late.status_code == 409
        assert "30 days are left" in late.json()["error"]
        assert requests.get(f"{control}/clock", timeout=10).json()["day"] == 0
        for wrong in ("0", "-1", "x", ""):
            answer = requests.post(f"{control}/advance", params={"days": wrong}, timeout=10)
            assert answer.status_code == 400
        forced = requests.post(
            f"{control}/advance", params={"days": 31, "allow_future": 1}, timeout=60
        )
        assert forced.json()["day"] == 31


def test_advancing_moves_every_vendor_alike(tmp_path: Path, server: EmbeddedServer) -> None:
    with serve_in_thread(
        state_dir=tmp_path,
        seed=9,
        scale=0.05,
        today=TODAY,
        postgres_url=server.url("postgres"),
        database="sandbox_advance",
    ) as manifest:
        sandbox = Sandbox(manifest)
        changes = sandbox.advance(3)
        company = Company(9, 0.05, TODAY)
        assert changes["today"] == (company.anchor + timedelta(days=3)).date().isoformat()
        assert changes["zendesk"]["tickets"] == sum(
            len(company.zendesk_tickets(day)) for day in (1, 2, 3)
        )
        before = company.truths_on(0)
        truths = sandbox.truths()
        assert truths == json.loads(json.dumps(company.truths_on(3)))
        new = truths["marketing"]["activities"]["total"]
        new -= before["marketing"]["activities"]["total"]  # type: ignore[index]
        assert changes["marketo"]["activities"] == new > 0
        lever = manifest["lever"]
        asked = requests.get(
            f"{lever['base_url']}/opportunities",
            params={
                "updated_at_start": int(company.now(0).timestamp() * 1000) + 1,
                "confidentiality": "all",
            },
            auth=(str(lever["api_key"]), ""),
            timeout=10,
        )
        assert changes["lever"]["opportunities"] == len(asked.json()["data"]) > 0
        with psycopg.connect(manifest["version"]["url"]) as connection:  # type: ignore[arg-type]
            for table, count in truths["totals"]["version"].items():
                query = f"select count(*) from {table}".encode()
                assert connection.execute(query).fetchone() == (count,)
        deals = salesforce_records(sandbox, "SELECT Id, IsDeleted FROM Opportunity")
        assert len(deals) == truths["totals"]["salesforce"]["Opportunity"]["all"]
        deleted = sum(deal["IsDeleted"] for deal in deals)
        assert deleted == truths["totals"]["salesforce"]["Opportunity"]["deleted"]


def salesforce_records(sandbox: Sandbox, query: str) -> list[dict[str, Any]]:
    """All records of a query, deleted ones too."""
    settings = sandbox.manifest["salesforce"]
    login = requests.post(
        settings["login_url"] + "/services/oauth2/token",
        data={
            "grant_type": "password",
            "client_id": settings["client_id"],
            "client_secret": settings["client_secret"],
            "username": settings["username"],
            "password": settings["password"] + settings["security_token"],
        },
        timeout=10,
    ).json()
    headers = {"Authorization": f"Bearer {login['access_token']}"}
    path = f"/services/data/v{settings['api_version']}/queryAll"
    page = requests.get(
        login["instance_url"] + path, params={"q": query}, headers=headers, timeout=10
    ).json()
    records = list(page["records"])
    while not page["done"]:
        url = login["instance_url"] + page["nextRecordsUrl"]
        page = requests.get(url, headers=headers, timeout=10).json()
        records += page["records"]
    return records


def test_records_over_the_wire_hold_the_truths(sandbox: Sandbox) -> None:
    deals = salesforce_records(
        sandbox,
        "SELECT Id, IsDeleted, Type, StageName, Amount, LeadSource, SQL_Source__c,"
        " Sales_Accepted_Date__c FROM Opportunity",
    )
    accepted = [
        deal
        for deal in deals
        if deal["Sales_Accepted_Date__c"]
        and not deal["IsDeleted"]
        and deal["Type"] in ("New Business", "Add-On Business", None)
        and deal["StageName"] not in ("00-Pre Opportunity", "9-Unqualified", "10-Duplicate")
        and deal["Amount"] >= 0
        and deal["LeadSource"] != "Web Direct"
    ]
    truth = sandbox.truths()["sales_accepted_opportunities"]
    assert len(accepted) == truth["total"]
    for name, trap in truth["traps"].items():
        for record_id in trap["ids"]:
            assert any(deal["Id"] == record_id for deal in accepted) == trap["counts"], name


def test_salesforce_is_counted_and_misbehaves_too(sandbox: Sandbox) -> None:
    sandbox.arm("salesforce", "server_error", times=1, match="/services/oauth2/token")
    url = sandbox.manifest["salesforce"]["login_url"] + "/services/oauth2/token"
    assert requests.post(url, data={}, timeout=10).status_code == 500
    assert requests.post(url, data={}, timeout=10).status_code == 400
    assert sandbox.counts("salesforce")["requests"] == 2


# --- misbehaviour -------------------------------------------------------------------------------


def test_every_vendor_answers_head_as_get_without_its_body(sandbox: Sandbox) -> None:
    zendesk, login = groups_url(sandbox)
    lever, stripe = sandbox.manifest["lever"], sandbox.manifest["stripe"]
    clearbit = sandbox.manifest["clearbit"]
    for url, known in (
        (zendesk, login),
        (f"{lever['base_url']}/stages", (lever["api_key"], "")),
        (f"{stripe['base_url']}/v1/products", (stripe["api_key"], "")),
        (
            f"{clearbit['base_url']}/v2/companies/find?domain=nobody.test",
            (clearbit["api_key"], ""),
        ),
        (str(sandbox.manifest["rdap"]["bootstrap_url"]), None),
    ):
        told = requests.get(url, auth=known, timeout=10)
        head = requests.head(url, auth=known, timeout=10)
        assert (head.status_code, head.content) == (told.status_code, b""), url
        assert head.headers["Content-Type"] == told.headers["Content-Type"]


def test_headers_are_named_as_vendors_name_them(sandbox: Sandbox) -> None:
    for service, path in (
        ("salesforce", "/services/data/"),
        ("stripe", "/v1/charges"),
        ("zendesk", "/api/v2/tickets.json"),
    ):
        address = urlsplit(sandbox.manifest[service]["base_url"])
        with socket.create_connection((address.hostname, address.port), 10) as connection:
            line = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            connection.sendall(line.encode())
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        head = answer.partition(b"\r\n\r\n")[0].decode()
        names = [line.partition(":")[0] for line in head.splitlines()[1:]]
        assert "Content-Type" in names
        assert not [name for name in names if name.islower()]


def test_a_connection_can_be_dropped(sandbox: Sandbox) -> None:
    url, login = groups_url(sandbox)
    for kind in ("drop", "drop_after"):
        sandbox.arm("zendesk", kind)
        with pytest.raises(requests.ConnectionError):
            requests.get(url, auth=login, timeout=10)
        assert requests.get(url, auth=login, timeout=10).status_code == 200


def test_a_body_can_be_cut_in_the_middle(sandbox: Sandbox) -> None:
    url, login = groups_url(sandbox)
    for encoding in ("identity", "gzip"):
        sandbox.arm("zendesk", "truncate")
        with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
            requests.get(url, auth=login, timeout=10, headers={"Accept-Encoding": encoding})


def test_an_answer_can_be_slow_or_drip(sandbox: Sandbox) -> None:
    url, login = groups_url(sandbox)
    plain = requests.get(url, auth=login, timeout=10).json()
    for kind in ("slow", "drip"):
        sandbox.arm("zendesk", kind, seconds=0.3)
        began = time.monotonic()
        assert requests.get(url, auth=login, timeout=10).json() == plain
        assert time.monotonic() - began > 0.28


@pytest.mark.parametrize(
    ("kind", "status"),
    [("unavailable", 503), ("server_error", 500), ("html", 502), ("expire_session", 401)],
)
def test_errors_come_as_often_as_asked_for(sandbox: Sandbox, kind: str, status: int) -> None:
    url, login = groups_url(sandbox)
    sandbox.arm("zendesk", kind, times=2, skip=1, match="groups")
    statuses = [requests.get(url, auth=login, timeout=10).status_code for _ in range(4)]
    assert statuses == [200, status, status, 200]
    assert sandbox.counts("zendesk")["by_path"] == {"/api/v2/groups.json": 4}


def test_garbage_is_no_json(sandbox: Sandbox) -> None:
    url, login = groups_url(sandbox)
    sandbox.arm("zendesk", "garbage")
    answer = requests.get(url, auth=login, timeout=10)
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_faults_are_listed_and_cleared_and_wrong_ones_named(sandbox: Sandbox) -> None:
    sandbox.arm("zendesk", "throttle", times=None)
    listed = requests.get(f"{sandbox.control}/faults", timeout=10).json()
    assert listed["zendesk"][0]["kind"] == "throttle"
    url, login = groups_url(sandbox)
    assert requests.get(url, auth=login, timeout=10).status_code == 429
    requests.delete(f"{sandbox.control}/faults", params={"service": "zendesk"}, timeout=10)
    assert requests.get(url, auth=login, timeout=10).status_code == 200
    for fault, word in (
        ({"service": "nobody", "kind": "drop"}, "there are: "),
        ({"service": "zendesk", "kind": "explode"}, "there are: "),
        ("no object", ""),
    ):
        answer = requests.post(f"{sandbox.control}/faults", json=fault, timeout=10)
        assert answer.status_code == 400
        assert word in answer.json()["error"]


def test_faults_can_be_armed_from_the_beginning(tmp_path: Path) -> None:
    faults = ["zendesk:throttle:1:retry_after_seconds=7", "clearbit:quota:*"]
    with serve_in_thread(state_dir=tmp_path, scale=0.02, faults=faults) as manifest:
        url, login = groups_url(Sandbox(manifest))
        assert requests.get(url, auth=login, timeout=10).headers["Retry-After"] == "7"
        settings = manifest["clearbit"]
        answer = requests.get(
            f"{settings['base_url']}/v2/companies/find?domain=a.com",
            auth=(str(settings["api_key"]), ""),
            timeout=10,
        )
        assert answer.status_code == 402


@pytest.mark.parametrize("kind", ["gzip_bomb", "huge"])
def test_an_answer_can_be_too_much(sandbox: Sandbox, kind: str) -> None:
    url, login = groups_url(sandbox)
    sandbox.arm("zendesk", kind, mebibytes=3)
    with requests.get(url, auth=login, timeout=10, stream=True) as answer:
        packed = int(answer.headers["Content-Length"])
        assert len(answer.content) >= 3 << 20
    assert (packed < 10_000) == (kind == "gzip_bomb")


def test_an_answer_can_lead_inside(sandbox: Sandbox) -> None:
    url, login = groups_url(sandbox)
    sandbox.arm("zendesk", "redirect")
    answer = requests.get(url, auth=login, timeout=10, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, METADATA)


def test_every_fault_is_told_of(sandbox: Sandbox) -> None:
    """The page of the documentation and the command name every kind, and no service takes another."""
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text("utf-8")
    for service, kinds in KINDS.items():
        ran = command("sandbox", "faults", service)
        assert ran.code == 0
        for kind, meaning in kinds.items():
            assert f"| `{kind}` | {meaning} |" in page
            assert f"  {kind} " in ran.out
            assert meaning in ran.out
    ran = command("sandbox", "faults", "nobody")
    assert ran.code == 2
    assert "there are: salesforce" in ran.err
    fault = {"service": "lever", "kind": "foreign_link"}
    assert requests.post(f"{sandbox.control}/faults", json=fault, timeout=10).status_code == 400


def test_fault_texts_are_parsed() -> None:
    assert parse_fault("zendesk:drop") == {"service": "zendesk", "kind": "drop"}
    assert parse_fault("dns:slow:*:seconds=2") == {
        "service": "dns",
        "kind": "slow",
        "times": None,
        "seconds": "2",
    }
    for wrong in ("", "zendesk", "zendesk:", "zendesk:drop:often"):
        with pytest.raises(ValueError):
            parse_fault(wrong)


def test_a_fault_box_counts_and_skips() -> None:
    box = FaultBox(("drop",))
    box.arm("drop", times=2, skip=1, match="/a")
    taken = [box.take("drop", path) is not None for path in ("/b", "/a", "/a", "/b", "/a", "/a")]
    assert taken == [False, False, True, False, True, False]
    with pytest.raises(ValueError, match="there are: drop"):
        box.arm("slow")


# --- the clock ----------------------------------------------------------------------------------


def test_the_clock_leaves_room_for_clients_before_the_next_day(tmp_path: Path) -> None:
    company = Company(1, 0.02, TODAY)
    folder = StateFolder(tmp_path)
    clock = CompanyClock(company, folder)
    assert company.anchor <= clock.now() < company.anchor + timedelta(hours=4)
    clock.move_to(3)
    assert clock.now() >= company.now(3)
    folder.write("clock", {"day": 3, "began_at": 0})
    assert CompanyClock(company, folder).now() == company.now(3) + timedelta(hours=3, minutes=59)


def test_uvicorn_lets_applications_hang_up() -> None:
    # service.HangUpProtocol hooks into this method; a release without it must fail here.
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    assert callable(HttpToolsProtocol.on_message_begin), uvicorn.__version__
