"""W2: other people's clients of Marketo and Lever, unmodified, from environments of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import Sandbox
from meltano_assets_tests.sandbox.other_environment import installed
from meltano_assets_tests.sandbox.tls_proxy import TlsProxy, tls_proxy

pytestmark = pytest.mark.slow

MUNCHKIN = "123-ABC-456"


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A company whose last month is ours: clients read up to the present."""
    with serve_in_thread(
        state_dir=tmp_path_factory.mktemp("company"), seed=7, scale=0.1
    ) as manifest:
        yield Sandbox(manifest)


@pytest.fixture(scope="module")
def proxy(company: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsProxy]:
    routes = {
        f"{MUNCHKIN}.mktorest.com": str(company.manifest["marketo"]["base_url"]),
        "api.lever.co": str(company.manifest["lever"]["base_url"]),
    }
    with tls_proxy(routes, tmp_path_factory.mktemp("tls")) as running:
        yield running


class Environment:
    """A client in an environment of its own."""

    def __init__(self, folder: Path, requirement: str, proxy: TlsProxy) -> None:
        self._bin = installed(folder, requirement)
        self._proxy = proxy
        # Some clients look at no variable, so their environment's own list of authorities is told.
        trusted = Path(self.run("python", "-c", "import certifi; print(certifi.where())").strip())
        with trusted.open("a") as authorities:
            authorities.write(proxy.authority.read_text())

    def run(self, *command: str) -> str:
        """What the command wrote to its standard output."""
        done = subprocess.run(
            [str(self._bin / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={"PATH": os.environ["PATH"], **self._proxy.environment},
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout


def run_tap(
    client: Environment, tap: str, folder: Path, config: dict[str, Any], streams: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Discover, select, read: the records by stream."""
    settings, catalog = folder / "config.json", folder / "catalog.json"
    settings.write_text(json.dumps(config))
    discovered = json.loads(client.run(tap, "--config", str(settings), "--discover"))
    for entry in discovered["streams"]:
        if entry["tap_stream_id"] in streams:
            for item in entry["metadata"]:
                item["metadata"]["selected"] = True
            if not any(not item["breadcrumb"] for item in entry["metadata"]):
                entry["metadata"].append({"breadcrumb": [], "metadata": {"selected": True}})
    catalog.write_text(json.dumps(discovered))
    option = "--catalog" if tap == "tap-lever" else "--properties"
    lines = client.run(tap, "--config", str(settings), option, str(catalog)).splitlines()
    records: dict[str, list[dict[str, Any]]] = {}
    for message in map(json.loads, lines):
        if message["type"] == "RECORD":
            records.setdefault(message["stream"], []).append(message["record"])
    return records


def test_tap_marketo(company: Sandbox, proxy: TlsProxy, tmp_path: Path) -> None:
    login = company.manifest["marketo"]
    client = Environment(tmp_path, "tap-marketo", proxy)
    config = {
        "endpoint": f"https://{MUNCHKIN}.mktorest.com/rest",
        "client_id": login["client_id"],
        "client_secret": login["client_secret"],
        "start_date": (datetime.now(UTC) - timedelta(days=740)).strftime("%Y-%m-%dT00:00:00Z"),
        "poll_interval": 0,
    }
    streams = ("leads", "activity_types", "activities_send_email", "campaigns", "lists", "programs")
    records = run_tap(client, "tap-marketo", tmp_path, config, streams)
    known = company.truths()["marketing"]
    leads = {record["id"]: record for record in records["leads"]}
    assert len(leads) == known["leads"]["live"]
    kinds = Counter(str(record["sfdcType"]) for record in leads.values())
    assert kinds == known["leads"]["by_salesforce_type"]
    sent = {record["marketoGUID"] for record in records["activities_send_email"]}
    assert len(sent) == known["activities"]["by_type"]["6"]
    for name in ("campaigns", "lists", "programs"):
        assert len(records[name]) == known[name]


def test_marketorestpython(company: Sandbox, proxy: TlsProxy, tmp_path: Path) -> None:
    login = company.manifest["marketo"]
    client = Environment(tmp_path, "marketorestpython", proxy)
    script = tmp_path / "script.py"
    script.write_text(
        f"""
import json, time
from marketorestpython.client import MarketoClient
client = MarketoClient({MUNCHKIN!r}, {login["client_id"]!r}, {login["client_secret"]!r})
lists = client.execute(method="get_multiple_lists")
programs = client.execute(method="browse_programs", maxReturn=200)
one = client.execute(method="get_multiple_leads_by_list_id", listId=str(lists[0]["id"]), batchSize=50)
found = client.execute(method="get_multiple_leads_by_filter_type", filterType="id",
    filterValues=[str(lead["id"]) for lead in one[:5]], fields=["id", "email"])
since = {(datetime.now(UTC) - timedelta(days=740)).strftime("%Y-%m-%d")!r}
merged = client.execute(method="get_lead_activities", activityTypeIds=["32"], sinceDatetime=since)
deleted = client.execute(method="get_deleted_leads", sinceDatetime=since)
usage = client.execute(method="get_daily_usage")
fields = client.execute(method="describe")
start = {(datetime.now(UTC) - timedelta(days=70)).strftime("%Y-%m-%dT00:00:00Z")!r}
end = {(datetime.now(UTC) - timedelta(days=41)).strftime("%Y-%m-%dT00:00:00Z")!r}
made = client.execute(method="create_leads_export_job", fields=["id", "email"],
    filters={{"createdAt": {{"startAt": start, "endAt": end}}}})
job = made[0]["exportId"]
client.execute(method="enqueue_leads_export_job", job_id=job)
while True:
    status = client.execute(method="get_leads_export_job_status", job_id=job)[0]
    if status["status"] == "Completed":
        break
    time.sleep(0.05)
file = client.execute(method="get_leads_export_job_file", job_id=job)
saved = client.execute(method="create_update_leads", leads=[{{"email": "a@w.example"}}, {{"x": 1}}])
lead = saved[0]["id"]
pushed = client.execute(method="push_lead", leads=[{{"email": "a@w.example", "title": "t"}}],
    programName=programs[0]["name"], lookupField="email")
listed = client.execute(method="add_leads_to_list", listId=lists[0]["id"], id=[lead])
inside = client.execute(method="member_of_list", listId=lists[0]["id"], id=[lead])
removed = client.execute(method="remove_leads_from_list", listId=lists[0]["id"], id=[lead])
open({str(tmp_path / "leads.csv")!r}, "w").write("email,firstName\\nb@w.example,B\\n")
batch = client.execute(method="import_lead", file={str(tmp_path / "leads.csv")!r},
    format="csv")[0]["batchId"]
imported = client.execute(method="get_import_lead_status", id=batch)[0]["status"]
failures = client.execute(method="get_import_failure_file", id=batch)
(other,) = client.execute(method="get_multiple_leads_by_filter_type", filterType="email",
    filterValues=["b@w.example"])
merged_now = client.execute(method="merge_lead", id=lead, leadIds=[other["id"]])
gone = client.execute(method="delete_lead", id=[lead, other["id"]])
states = [r["status"] for r in (*saved, *pushed, *listed, *inside, *removed, *gone)]
content = file if isinstance(file, bytes) else file.content
print(json.dumps({{
    "lists": len(lists), "programs": len(programs), "found": found, "one": len(one),
    "merged": len(merged), "deleted": len(deleted), "usage": usage[0]["total"],
    "states": [*states, imported, merged_now, failures],
    "fields": len(fields), "file": len(content), "size": status["fileSize"],
}}))
"""
    )
    answer = json.loads(client.run("python", str(script)).splitlines()[-1])
    known = company.truths()["marketing"]
    assert answer["lists"] == known["lists"]
    assert answer["programs"] == known["programs"]
    assert answer["merged"] == known["activities"]["by_type"]["32"]
    assert answer["deleted"] == known["activities"]["by_type"]["37"]
    assert len(answer["found"]) == 5
    assert answer["one"] > 5
    assert answer["file"] == answer["size"]
    assert answer["usage"] > 5
    states = "created skipped updated added memberof removed deleted skipped Complete"
    assert answer["states"] == [*states.split(), True, ""]
    assert answer["fields"] > 80


def test_tap_lever(company: Sandbox, proxy: TlsProxy, tmp_path: Path) -> None:
    client = Environment(tmp_path, "tap-lever", proxy)
    since = datetime.now(UTC) - timedelta(days=120)
    config = {
        "token": company.manifest["lever"]["api_key"],
        "start_date": since.strftime("%Y-%m-%dT00:00:00Z"),
    }
    streams = (
        "opportunities",
        "opportunity_applications",
        "opportunity_offers",
        "opportunity_resumes",
        "postings",
        "requisitions",
        "users",
        "stages",
        "sources",
        "archive_reasons",
    )
    # A refusal in the middle is waited out.
    company.arm("lever", "throttle", skip=3)
    records = run_tap(client, "tap-lever", tmp_path, config, streams)
    assert len(records["stages"]) == 9
    known = company.truths()["hiring"]
    assert len(records["postings"]) == known["postings"]
    opportunities = {record["id"] for record in records["opportunities"]}
    assert opportunities
    applications = {record["id"] for record in records["opportunity_applications"]}
    assert len(applications) == len(opportunities)
    assert all(record["opportunityId"] in opportunities for record in records["opportunity_offers"])
