"""The Salesforce client against the sandbox's Salesforce, over a real socket."""
# ruff: noqa: SIM117 the client's block and the claim about it stay apart

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
import uvicorn

from meltano_assets.clients.policy import Response
from meltano_assets.clients.salesforce import Poll, SalesforceClient, SaveError
from meltano_assets.clients.salesforce_wire import BULK_NULL, bulk_errors, csv_bodies, csv_cells
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.sandbox.company import Company
from meltano_assets.sandbox.salesforce import SalesforceOrg, build_app
from meltano_assets.sandbox.salesforce_org import ORGANIZATION_ID
from meltano_assets.streams import VendorJob
from meltano_assets_tests.clients.local_server import Answer, FakeClock, Request, serving

QUICK = Poll(first_seconds=0.01, max_seconds=0.05)


class _Clock:
    day = 0

    def now(self) -> datetime:
        return datetime.now(UTC)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        pass


@pytest.fixture(scope="module")
def served_org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SalesforceOrg, str]]:
    company = Company(seed=1, scale=0.1, today=date(2026, 6, 1))
    org = SalesforceOrg(tmp_path_factory.mktemp("org"), company, _Clock())
    server = _Server(uvicorn.Config(build_app(org), port=0, log_level="critical"))
    ready = threading.Event()
    startup = server.startup

    async def announce(sockets: object = None) -> None:
        await startup(sockets)  # type: ignore[arg-type]
        ready.set()

    server.startup = announce  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield org, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture
def org(served_org: tuple[SalesforceOrg, str]) -> Iterator[SalesforceOrg]:
    org, _ = served_org
    org.faults.clear()
    yield org
    org.faults.clear()


@pytest.fixture
def settings(served_org: tuple[SalesforceOrg, str]) -> dict[str, str]:
    org, base_url = served_org
    known = org.credentials
    return {
        "base_url": base_url,
        "client_id": known.client_id,
        "client_secret": known.client_secret,
    }


@pytest.fixture
def client(org: SalesforceOrg, settings: dict[str, str]) -> Iterator[SalesforceClient]:
    with SalesforceClient(settings, poll=QUICK) as client:
        yield client


def ids(client: SalesforceClient, where: str, object_name: str = "Account") -> list[str]:
    soql = f"SELECT Id FROM {object_name} WHERE {where}"
    return [str(record["Id"]) for page in client.query(soql) for record in page]


# -- login --


def test_every_way_to_log_in_works(
    served_org: tuple[SalesforceOrg, str], settings: dict[str, str]
) -> None:
    org, base_url = served_org
    known = org.credentials
    soap = {"username": known.username, "password": known.password}
    ways = [
        settings,
        {**settings, "refresh_token": known.refresh_token},
        {"login_url": base_url, **soap, "security_token": known.security_token},
    ]
    for way in ways:
        with SalesforceClient(way) as client:
            assert client.count("User") == 3
            # The login tells it: the sync's memory is kept by organisation.
            assert client.organization_id == ORGANIZATION_ID[:15]
            assert client.requests == 2


@pytest.mark.parametrize("broken", ["client_secret", "password", "security_token"])
def test_wrong_credentials_are_fatal_at_once(
    broken: str, served_org: tuple[SalesforceOrg, str], settings: dict[str, str]
) -> None:
    org, base_url = served_org
    known = org.credentials
    way = settings
    if broken != "client_secret":
        way = {
            "base_url": base_url,
            "username": known.username,
            "password": known.password,
            "security_token": known.security_token,
        }
    with SalesforceClient({**way, broken: "canary-wrong"}) as client:
        with pytest.raises(FatalError, match="SALESFORCE_CLIENT_ID") as info:
            client.limits()
        assert client.requests == 1
    assert "canary" not in str(info.value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_url": "http://x"},
        {"base_url": "http://x", "client_id": "a"},
        {"base_url": "http://x", "username": "a", "client_secret": "b"},
        {"client_id": "a", "client_secret": "b"},
    ],
)
def test_incomplete_settings_are_fatal(settings: dict[str, str]) -> None:
    with pytest.raises(FatalError, match="SALESFORCE_BASE_URL"):
        SalesforceClient(settings)


def test_a_session_is_not_carried_in_the_clear() -> None:
    class Plain(SalesforceClient):
        def _oauth_login(self) -> tuple[str, str, str | None]:
            return "token", "http://instance.example", None

    way = {"base_url": "https://login.example", "client_id": "a", "client_secret": "b"}
    with Plain(way) as client, pytest.raises(FatalError, match="not encrypted"):
        client.limits()


def test_an_odd_api_version_is_fatal(settings: dict[str, str]) -> None:
    with pytest.raises(FatalError, match="SALESFORCE_API_VERSION"):
        SalesforceClient({**settings, "api_version": "latest"})


def test_an_expired_session_is_renewed_once(org: SalesforceOrg, client: SalesforceClient) -> None:
    client.limits()
    before = client.requests
    org.faults.arm("expire_session", match="/limits")
    client.limits()
    assert client.requests == before + 3


def test_a_session_that_never_holds_is_fatal(org: SalesforceOrg, client: SalesforceClient) -> None:
    org.faults.arm("expire_session", times=50, match="/limits")
    with pytest.raises(FatalError, match="credentials were refused"):
        client.limits()


# -- limits --


def test_the_days_limit_stops_at_once(org: SalesforceOrg, client: SalesforceClient) -> None:
    org.faults.arm("request_limit", times=50)
    with pytest.raises(FatalError, match="request limit is used up"):
        client.count("Account")


def test_too_many_at_once_is_waited_for(org: SalesforceOrg, settings: dict[str, str]) -> None:
    clock = FakeClock()
    org.faults.arm("concurrent_limit", times=2)
    with SalesforceClient(settings, http=clock.transport()) as client:
        assert client.count("User") == 3
    assert clock.slept == [0.5, 1.0]


def test_usage_is_what_the_vendor_last_said(client: SalesforceClient) -> None:
    assert client.usage is None
    client.count("User")
    first = client.usage
    client.count("User")
    assert first
    assert client.usage
    assert client.usage.used == first.used + 1
    assert client.usage.allowed == 100_000


# -- queries --


def test_queries_come_in_pages_and_tell_deleted_records(client: SalesforceClient) -> None:
    soql = "SELECT Id, IsDeleted FROM CampaignMember"
    live = [record for page in client.query(soql) for record in page]
    every = [record for page in client.query(soql, include_deleted=True) for record in page]
    assert len(live) == client.count("CampaignMember")
    assert len(every) == client.count("CampaignMember", include_deleted=True) > len(live)
    assert {bool(record["IsDeleted"]) for record in live} == {False}


def test_a_wrong_query_is_fatal_and_says_why(client: SalesforceClient) -> None:
    with pytest.raises(FatalError, match=r"INVALID_FIELD.*Nonsense"):
        list(client.query("SELECT Nonsense FROM Account"))


def test_a_lost_cursor_asks_for_another_run(org: SalesforceOrg, client: SalesforceClient) -> None:
    org.faults.arm("lose_cursor", times=5)
    with pytest.raises(RetriableError, match="INVALID_QUERY_LOCATOR"):
        for page in client.query_pages(
            "SELECT Id FROM Lead", page_size=200, parse=lambda response: response.json()
        ):
            assert page


def test_describe_names_fields(client: SalesforceClient) -> None:
    fields = client.describe("Host__c")["fields"]
    assert isinstance(fields, list)
    assert {"Meltano_Id__c", "Account__c"} <= {field["name"] for field in fields}
    with pytest.raises(FatalError, match="NOT_FOUND"):
        client.describe("Nonsense__c")


# -- collections --


def test_records_are_upserted_in_order_whatever_their_number(client: SalesforceClient) -> None:
    records = [
        {"Meltano_Id__c": f"many-{n}", "Name": f"Many {n}" if n != 203 else None}
        for n in range(405)
    ]
    first = client.upsert_collection("Account", "Meltano_Id__c", records)
    assert [n for n, result in enumerate(first) if not result.success] == [203]
    assert first[203].errors[0].code == "REQUIRED_FIELD_MISSING"
    assert all(result.created and result.id for result in first if result.success)
    again = client.upsert_collection("Account", "Meltano_Id__c", records[:10])
    assert [result.id for result in again] == [result.id for result in first[:10]]
    assert not any(result.created for result in again)
    assert len(ids(client, "Meltano_Id__c LIKE 'many-%'")) == 404


def test_a_lookup_is_set_by_the_parents_external_id(client: SalesforceClient) -> None:
    client.upsert_collection("Account", "Meltano_Id__c", [{"Meltano_Id__c": "p", "Name": "P"}])
    record = {
        "Meltano_Id__c": "child",
        "Name": "child",
        "Account__r.Meltano_Id__c": "p",
        "Host_Users__c": Decimal("12"),
        "Last_Ping__c": date(2026, 1, 2),
        "Mattermost_Enabled__c": True,
    }
    (result,) = client.upsert_collection("Host__c", "Meltano_Id__c", [record])
    assert result.success, result.errors
    soql = "SELECT Account__r.Meltano_Id__c, Host_Users__c FROM Host__c WHERE Name = 'child'"
    ((row,),) = client.query(soql)
    assert row["Account__r"]["Meltano_Id__c"] == "p"  # type: ignore[index]
    assert row["Host_Users__c"] == 12


def test_create_update_and_delete(client: SalesforceClient) -> None:
    (made,) = client.create_collection("Account", [{"Name": "Made"}])
    assert made.created
    (changed,) = client.update_collection("Account", [{"Id": made.id, "Industry": "Energy"}])
    assert changed.success
    assert not changed.created
    assert ids(client, "Name = 'Made' AND Industry = 'Energy'") == [made.id]
    (gone, missing) = client.delete_collection([str(made.id), "001000000000000AAA"])
    assert gone.success
    assert not missing.success
    assert ids(client, "Name = 'Made'") == []


def test_all_or_none_leaves_nothing_behind(client: SalesforceClient) -> None:
    records = [{"Name": "All or none"}, {"Name": None}]
    results = client.create_collection("Account", records, all_or_none=True)
    assert [result.success for result in results] == [False, False]
    assert ids(client, "Name = 'All or none'") == []


def test_an_upsert_whose_answer_was_lost_creates_no_duplicate(
    org: SalesforceOrg, settings: dict[str, str]
) -> None:
    with SalesforceClient(settings, http=FakeClock().transport()) as client:
        client.limits()
        org.faults.arm("drop_after", match="PATCH")
        record = {"Meltano_Id__c": "lost", "Name": "Lost"}
        (result,) = client.upsert_collection("Account", "Meltano_Id__c", [record])
        assert result.success
        assert not result.created
        assert len(ids(client, "Name = 'Lost'")) == 1


def test_a_create_whose_answer_was_lost_is_not_repeated(
    org: SalesforceOrg, settings: dict[str, str]
) -> None:
    with SalesforceClient(settings, http=FakeClock().transport()) as client:
        client.limits()
        org.faults.arm("drop_after", match="POST")
        with pytest.raises(RetriableError, match="whether the vendor acted is unknown"):
            client.create_collection("Account", [{"Name": "Once"}])
        assert len(ids(client, "Name = 'Once'")) == 1


# -- bulk --

HOSTILE = 'a,"b"\r\nc\u2028 ü 🎉 =1+1 \\'


def test_bulk_writes_and_tells_what_became_of_each_row(client: SalesforceClient) -> None:
    rows = [
        {"Meltano_Id__c": "b1", "Name": "B1", "Description": HOSTILE, "Using_CE__c": True},
        {"Meltano_Id__c": "b2", "Name": None},
        {"Meltano_Id__c": "b3", "Name": "B3", "NumberOfEmployees": 12},
    ]
    result = client.bulk_ingest("Account", "upsert", rows, "Meltano_Id__c")
    assert result.error is None
    assert {row.key for row in result.successful if row.created} == {"b1", "b3"}
    (failed,) = result.failed
    assert failed.key == "b2"
    assert failed.errors[0].code == "REQUIRED_FIELD_MISSING"
    soql = "SELECT Description, Using_CE__c, NumberOfEmployees FROM Account WHERE Name = 'B1'"
    ((record,),) = client.query(soql)
    assert str(record["Description"]).replace("\r\n", "\n") == HOSTILE.replace("\r\n", "\n")
    assert record["Using_CE__c"] is True
    assert record["NumberOfEmployees"] is None

    emptied = [{"Meltano_Id__c": "b1", "Description": None}, {"Meltano_Id__c": "b3", "Name": "C3"}]
    assert not client.bulk_ingest("Account", "upsert", emptied, "Meltano_Id__c").failed
    ((one, three),) = client.query(
        "SELECT Name, Description, NumberOfEmployees FROM Account"
        " WHERE Meltano_Id__c IN ('b1', 'b3') ORDER BY Meltano_Id__c"
    )
    assert one["Description"] is None
    assert (three["Name"], three["NumberOfEmployees"]) == ("C3", 12)


def _result_file(body: bytes, records: int | None = None) -> Response:
    told = {} if records is None else {"Sforce-NumberOfRecords": str(records)}
    return Response(200, {"Content-Type": "text/csv", **told}, body)


def test_of_a_result_file_the_wanted_cells_are_read_and_its_records_counted() -> None:
    notes = 'two\n""lines"", ' * 40
    count = 5_000
    lines = [f'"id{n}","{notes}","key{n}"\n' for n in range(count)]
    body = ("sf__Id,Notes__c,KEY__C\n" + "".join(lines)).encode()
    assert len(body) > 2 << 20
    cells = csv_cells(_result_file(body, count), ["Key__c", "sf__Id", "sf__Error"])
    assert cells == [(f"key{n}", f"id{n}", "") for n in range(count)]
    with pytest.raises(ValueError, match="records are missing"):
        csv_cells(_result_file(body, count + 1), ["Key__c"])


@pytest.mark.parametrize("line", ["id2", "id2,key2,more"])
def test_a_result_file_whose_lines_are_not_alike_is_broken(line: str) -> None:
    with pytest.raises(ValueError, match="other cells than the header"):
        csv_cells(_result_file(f"sf__Id,Key__c\nid1,key1\n{line}\n".encode()), ["Key__c"])


def test_no_rows_are_no_job(client: SalesforceClient) -> None:
    result = client.bulk_ingest("Account", "insert", [])
    assert (result.successful, result.job_ids, client.requests) == ((), (), 0)


def test_a_job_that_fails_half_way_tells_what_it_did_not_reach(
    org: SalesforceOrg, client: SalesforceClient
) -> None:
    rows = [{"Meltano_Id__c": f"half-{n}", "Name": f"Half {n}"} for n in range(10)]
    org.faults.arm("fail_bulk_job", after=4)
    result = client.bulk_ingest("Account", "upsert", rows, "Meltano_Id__c")
    assert result.error
    assert "Failed" in result.error
    done = {row.key for row in result.successful}
    left = set(result.unprocessed)
    assert len(done) == 4
    assert done | left == {row["Meltano_Id__c"] for row in rows}


def test_a_job_is_not_awaited_for_ever(org: SalesforceOrg, settings: dict[str, str]) -> None:
    org.faults.arm("slow_bulk_job", polls=100_000)
    clock = FakeClock()
    poll = Poll(first_seconds=1, max_seconds=30, deadline_seconds=300)
    with SalesforceClient(settings, http=clock.transport(), poll=poll) as client:
        with pytest.raises(RetriableError, match="still InProgress after 300 s"):
            list(client.bulk_query("SELECT Id FROM User"))
        assert client.requests < 30


def test_a_query_job_comes_in_pages_and_can_be_taken_up_again(client: SalesforceClient) -> None:
    seen: list[str] = []
    soql = "SELECT Id FROM Lead"
    pages = list(client.bulk_query(soql, page_rows=100, on_job=seen.append))
    assert len(pages) > 1
    assert all(page.splitlines()[0] == b'"Id"' for page in pages)
    lines = [line for page in pages for line in page.splitlines()[1:]]
    assert len(set(lines)) == len(lines) == client.count("Lead")
    before = client.requests
    vendor = client.query_job(soql, page_rows=100_000)
    job = VendorJob(seen[0], "ordered", {}, datetime.now(UTC))
    again = list(vendor.read(job, vendor.check(job)))
    assert sorted(again[0].splitlines()[1:]) == sorted(lines)
    assert client.requests == before + 2


def test_a_query_job_that_fails_is_fatal(client: SalesforceClient) -> None:
    with pytest.raises(FatalError):
        list(client.bulk_query("SELECT Nonsense FROM Account"))


@pytest.mark.parametrize("cut", [b'"Id","Name"\n"1","half', b'"Id","Name"\n"1","x"\n"2"', b""])
def test_half_a_csv_is_asked_for_again(cut: bytes) -> None:
    whole = b'"Id","Name"\n"1","half"\n'
    results = iter([cut, whole])

    def handler(request: Request) -> Answer:
        if request.path.endswith("/token"):
            body = f'{{"access_token": "t", "instance_url": "{server.base_url}"}}'
            return Answer(body.encode())
        if request.path.endswith("/results"):
            told = {"Sforce-NumberOfRecords": "1"}
            return Answer(next(results), content_type="text/csv", headers=told)
        return Answer(b'{"id": "750", "state": "JobComplete"}')

    with serving(handler) as server:
        way = {"base_url": server.base_url, "client_id": "a", "client_secret": "b"}
        with SalesforceClient(way, http=FakeClock().transport()) as client:
            assert list(client.bulk_query("SELECT Id, Name FROM Account")) == [whole]


def test_a_repeated_locator_raises() -> None:
    def handler(request: Request) -> Answer:
        if request.path.endswith("/token"):
            body = f'{{"access_token": "t", "instance_url": "{server.base_url}"}}'
            return Answer(body.encode())
        if request.path.endswith("/results"):
            return Answer(b'"Id"\n"1"\n', content_type="text/csv", headers={"Sforce-Locator": "x"})
        return Answer(b'{"id": "750", "state": "JobComplete"}')

    with serving(handler) as server:
        way = {"base_url": server.base_url, "client_id": "a", "client_secret": "b"}
        with SalesforceClient(way, http=FakeClock().transport()) as client:
            with pytest.raises(RetriableError, match="repeats the same page"):
                list(client.bulk_query("SELECT Id FROM Account"))


# -- files --


def test_ingest_files_are_cut_by_size_with_a_header_each() -> None:
    rows = [{"Name": "x" * 50, "N": number} for number in range(100)]
    bodies = list(csv_bodies(rows, 1000))
    assert len(bodies) > 5
    assert all(len(body) <= 1000 and body.startswith(b"Name,N\n") for body in bodies)
    assert sum(body.count(b"\n") - 1 for body in bodies) == 100


def test_null_missing_and_the_null_word_stay_apart() -> None:
    rows = [{"A": None, "B": "x"}, {"B": BULK_NULL}, {"A": False, "B": ""}]
    assert list(csv_bodies(rows, 10_000)) == [b"A,B\n#N/A,x\n,\nfalse,\n"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CODE:what happened:Name--", SaveError("CODE", "what happened", ("Name",))),
        ("CODE:a: b: c:A,B --", SaveError("CODE", "a: b: c", ("A", "B"))),
        ("CODE:what happened:--", SaveError("CODE", "what happened", ())),
        ("CODE", SaveError("CODE", "", ())),
    ],
)
def test_the_errors_of_a_file_are_taken_apart(text: str, expected: SaveError) -> None:
    assert bulk_errors(text) == (expected,)
