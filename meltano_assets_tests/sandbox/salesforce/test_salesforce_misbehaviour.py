"""Faults that can be armed, and the company's days."""

from __future__ import annotations

import contextlib
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests

from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.salesforce import SalesforceOrg
from meltano_assets_tests.sandbox.salesforce.conftest import (
    START,
    Api,
    SmallCompany,
    StandClock,
    known_id,
)

# --- requests ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("throttle", 429, "TOO_MANY_REQUESTS"),
        ("unavailable", 503, "SERVER_UNAVAILABLE"),
        ("server_error", 500, "UNKNOWN_EXCEPTION"),
        ("request_limit", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("concurrent_limit", 403, "REQUEST_LIMIT_EXCEEDED"),
        ("expire_session", 401, "INVALID_SESSION_ID"),
        ("lose_cursor", 400, "INVALID_QUERY_LOCATOR"),
    ],
)
def test_a_fault_strikes_as_often_as_armed(api: Api, kind: str, status: int, code: str) -> None:
    path = "/limits"
    if kind == "lose_cursor":
        _many(api)
        options = {"headers": {"Sforce-Query-Options": "batchSize=200"}}
        path = api.base + api.query("SELECT Id FROM Host__c", **options).json()["nextRecordsUrl"]
    api.faults.arm(kind, times=2, skip=1, retry_after_seconds=7)
    assert api.get(path).status_code == 200
    for _ in range(2):
        answer = api.get(path)
        assert api.error(answer) == (status, code)
        if status in (429, 503):
            assert answer.headers["Retry-After"] == "7"
        if kind == "expire_session":
            api.login()
    assert api.get(path).status_code == 200


def _many(api: Api) -> None:
    for start in (0, 200):
        records = [{"attributes": {"type": "Host__c"}, "Name": f"h{start + n}"} for n in range(200)]
        api.call("POST", "/composite/sobjects", json={"records": records})


def test_a_fault_strikes_only_what_it_matches(api: Api) -> None:
    api.faults.arm("server_error", times=None, match="POST /services/data/v59.0/composite")
    assert api.get("/limits").status_code == 200
    assert api.call("POST", "/composite/sobjects", json={"records": []}).status_code == 500
    assert api.faults.status()[0]["kind"] == "server_error"
    api.faults.clear("server_error")
    assert api.call("POST", "/composite/sobjects", json={"records": []}).status_code == 200
    with pytest.raises(ValueError, match="no fault 'nonsense'"):
        api.faults.arm("nonsense")


def test_broken_connections(api: Api) -> None:
    api.faults.arm("drop")
    with pytest.raises(requests.ConnectionError):
        api.call("POST", "/sobjects/Account", json={"Name": "dropped"})
    api.faults.arm("drop_after")
    with pytest.raises(requests.ConnectionError):
        api.call("POST", "/sobjects/Account", json={"Name": "kept"})
    assert api.column("SELECT Name FROM Account WHERE Name IN ('dropped', 'kept')") == ["kept"]
    api.faults.arm("truncate")
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.ConnectionError)):
        api.get("/sobjects")
    api.faults.arm("html", status=502)
    answer = api.get("/limits")
    assert (answer.status_code, answer.headers["Content-Type"]) == (502, "text/html")


def test_slow_answers(api: Api) -> None:
    api.faults.arm("slow", seconds=0.3)
    started = time.monotonic()
    api.get("/limits")
    api.faults.arm("drip", seconds=0.3)
    assert api.get("/limits").json()["DailyApiRequests"]
    assert time.monotonic() - started >= 0.55


def test_a_page_can_repeat_for_ever(api: Api) -> None:
    _many(api)
    api.faults.arm("repeat_page", times=None)
    options = {"headers": {"Sforce-Query-Options": "batchSize=200"}}
    url = api.query("SELECT Id FROM Host__c", **options).json()["nextRecordsUrl"]
    assert url.endswith("-0")
    assert api.get(api.base + url).json()["nextRecordsUrl"] == url


def test_answers_are_packed_when_asked(shared: Api) -> None:
    packed = shared.get("/sobjects")
    assert packed.headers["Content-Encoding"] == "gzip"
    plain = shared.get("/sobjects", headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert packed.json() == plain.json()


# --- the company's days --------------------------------------------------------------------


def test_a_new_day_changes_only_what_the_company_changed(api: Api) -> None:
    account = known_id("001", 3)
    before = dict(api.company.days[0]["Account"][2])
    api.call(
        "PATCH",
        f"/sobjects/Account/{account}",
        json={"Industry": "Banking", "Website": "https://ours.test", "Meltano_Id__c": "ours"},
    )
    moment = START + timedelta(days=1)
    api.company.days[1] = {
        "Account": [
            {**before, "Phone": "112", "Website": "https://new.test", "SystemModstamp": moment}
        ],
        "Contact": [{**api.company.days[0]["Contact"][0], "IsDeleted": True}],
        "Lead": [{"Id": known_id("00Q", 1), "LastName": "New", "Company": "C"}],
    }
    api.clock.at, api.clock.day = moment, 1
    api.org.advance_to(1)
    api.org.advance_to(1)
    found = api.rows(
        "SELECT Industry, Meltano_Id__c, Phone, Website, SystemModstamp FROM Account "
        f"WHERE Id = '{account}'"
    )
    assert found == [
        {
            "Industry": "Banking",
            "Meltano_Id__c": "ours",
            "Phone": "112",
            "Website": "https://new.test",
            "SystemModstamp": "2024-05-16T12:00:00.000+0000",
        }
    ]
    assert api.query("SELECT COUNT() FROM Contact").json()["totalSize"] == 14
    lead = api.rows("SELECT Name, Status, CreatedById, IsConverted, CreatedDate FROM Lead")[0]
    assert (lead["Name"], lead["Status"], lead["IsConverted"]) == ("New", "Raw", False)
    assert lead["CreatedById"] == known_id("005", 1)


def test_the_org_goes_on_after_a_restart(api: Api) -> None:
    created = api.call("POST", "/sobjects/Account", json={"Name": "kept"}).json()["id"]
    token = str(api.session.headers["Authorization"]).partition(" ")[2]
    api.org.keep_usage()
    org = SalesforceOrg(api.org.path.parent, api.company, api.clock)
    rows = org.reader().execute('SELECT "Id" FROM "Account" WHERE "Name" = \'kept\'').fetchall()
    assert rows == [(created,)]
    assert org.applied_day == 0
    assert org.session_user(token) == api.org.user_id
    assert org.credentials == api.org.credentials
    assert org.api_requests == api.org.api_requests > 0
    org.close()


def test_unknown_names_of_the_company_are_an_error(tmp_path: Path) -> None:
    for records, message in (
        ({"Nope": []}, "unknown object: Nope"),
        ({"Account": [{"Id": known_id("001", 1), "Nope": 1}]}, "Account.Nope"),
        ({"Account": [{"Id": "x", "Name": "x"}]}, "no Salesforce id"),
    ):
        company = SmallCompany({0: records})
        with pytest.raises(ValueError, match=message):
            SalesforceOrg(tmp_path / message, company, StandClock())


def test_the_whole_sandbox_company_fits(tmp_path: Path) -> None:
    company = Company(1, 1, START.date())
    records = company.salesforce_records(0)
    started = time.monotonic()
    org = SalesforceOrg(tmp_path, company, StandClock())
    org.advance_to(5)
    assert time.monotonic() - started < 10
    for name, rows in records.items():
        count = org.reader().execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
        assert count >= len(rows)
    org.close()


def test_threads_that_ended_leave_no_file_open(api: Api) -> None:
    """A server's threads come and go; an ordinary user may open a thousand files."""
    opened = Path("/proc/self/fd")
    if not opened.is_dir():
        pytest.skip("this system does not tell which files are open")

    def files() -> int:
        found = 0
        for each in opened.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found += str(each.readlink()).startswith(str(api.org.path))
        return found

    before = files()
    for _ in range(30):
        thread = threading.Thread(target=lambda: api.org.reader().execute("SELECT 1").fetchone())
        thread.start()
        thread.join()
    assert files() - before < 10
