"""The simulated Salesforce on a real socket, with a small company of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn

from meltano_assets.sandbox.faults import FaultBox
from meltano_assets.sandbox.salesforce import SalesforceOrg, build_app
from meltano_assets.sandbox.salesforce_faults import salesforce_faults
from meltano_assets.sandbox.salesforce_schema import make_id
from meltano_assets.sandbox.service import HangUpProtocol

START = datetime(2024, 5, 15, 12, tzinfo=UTC)


@dataclass
class StandClock:
    """A clock that stands until a test moves it."""

    at: datetime = START
    day: int = 0

    def now(self) -> datetime:
        return self.at


def known_id(prefix: str, number: int) -> str:
    """The id of the company's ``number``-th record of a kind."""
    return make_id(prefix, number, "Co0")


def _day_zero() -> dict[str, list[dict[str, object]]]:
    owner = known_id("005", 1)

    def stamps(day: int) -> dict[str, object]:
        at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day)
        return {"CreatedDate": at, "LastModifiedDate": at, "SystemModstamp": at}

    users: list[dict[str, object]] = [
        {
            "Id": known_id("005", n),
            "Username": f"user{n}@company.test",
            "Name": f"First Last{n}",
            "Email": f"user{n}@company.test",
            "IsActive": True,
            "ManagerId": None if n == 1 else owner,
            **stamps(n),
        }
        for n in range(1, 4)
    ]
    kinds = ("Customer", "Prospect", None)
    accounts: list[dict[str, object]] = [
        {
            "Id": known_id("001", n),
            "Name": f"Account {n:02}",
            "Type": kinds[n % 3],
            "Website": f"https://www.account{n}.test",
            "NumberOfEmployees": n * 10 if n % 2 else None,
            "BillingCountry": "Germany" if n % 2 else None,
            "ParentId": known_id("001", n - 1) if n % 5 == 0 else None,
            "OwnerId": known_id("005", 1 + n % 3),
            "Using_CE__c": n % 4 == 0,
            "IsDeleted": n == 20,
            **stamps(n),
        }
        for n in range(1, 21)
    ]
    accounts[0]["Name"] = "Müller & Söhne"
    accounts[1]["Name"] = 'O\'Brien "Quoted", 50%_off'
    contacts: list[dict[str, object]] = [
        {
            "Id": known_id("003", n),
            "AccountId": known_id("001", 1 + n % 6) if n < 12 else None,
            "FirstName": f"Ann{n}" if n % 2 else None,
            "LastName": f"Smith{n}",
            "Email": f"ann{n}@account.test",
            "OwnerId": owner,
            **stamps(n),
        }
        for n in range(1, 16)
    ]
    opportunities: list[dict[str, object]] = [
        {
            "Id": known_id("006", n),
            "AccountId": known_id("001", 1 + n % 4),
            "Name": f"Deal {n}",
            "StageName": ("1-Discovery", "Closed Won")[n % 2],
            "IsWon": bool(n % 2),
            "IsClosed": bool(n % 2),
            "Amount": n * 1000.25 if n != 7 else None,
            "CloseDate": (START + timedelta(days=n - 5)).date(),
            "OwnerId": owner,
            **stamps(n),
        }
        for n in range(1, 11)
    ]
    return {
        "User": users,
        "Account": accounts,
        "Contact": contacts,
        "Opportunity": opportunities,
    }


@dataclass
class SmallCompany:
    """Twenty accounts and what belongs to them; tests may add days."""

    days: dict[int, Mapping[str, Sequence[Mapping[str, object]]]] = field(
        default_factory=lambda: {0: _day_zero()}
    )

    def salesforce_records(self, day: int) -> Mapping[str, Sequence[Mapping[str, object]]]:
        return self.days.get(day, {})


@dataclass
class Api:
    """A logged-in client without any comfort, and the org behind it."""

    org: SalesforceOrg
    faults: FaultBox
    base: str
    clock: StandClock
    company: SmallCompany
    session: requests.Session = field(default_factory=requests.Session)
    version: str = "59.0"

    @property
    def data(self) -> str:
        return f"{self.base}/services/data/v{self.version}"

    def login(self) -> str:
        known = self.org.credentials
        answer = requests.post(
            f"{self.base}/services/oauth2/token",
            data={
                "grant_type": "client_credentials",
                "client_id": known.client_id,
                "client_secret": known.client_secret,
            },
            timeout=10,
        )
        token = str(answer.json()["access_token"])
        self.session.headers["Authorization"] = f"Bearer {token}"
        return token

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        url = path if path.startswith("http") else self.data + path
        return self.session.request(method, url, timeout=20, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.call("GET", path, **options)

    def query(self, soql: str, *, everything: bool = False, **options: Any) -> requests.Response:
        path = "/queryAll" if everything else "/query"
        return self.get(path, params={"q": soql}, **options)

    def rows(self, soql: str, *, everything: bool = False) -> list[dict[str, Any]]:
        answer = self.query(soql, everything=everything)
        assert answer.status_code == 200, answer.text
        records: list[dict[str, Any]] = answer.json()["records"]
        for record in records:
            record.pop("attributes")
        return records

    def column(self, soql: str) -> list[Any]:
        return [next(iter(record.values())) for record in self.rows(soql)]

    def error(self, answer: requests.Response) -> tuple[int, str]:
        return answer.status_code, answer.json()[0]["errorCode"]


def serve(app: Any) -> tuple[uvicorn.Server, threading.Thread, str]:
    """Runs an application on a free port until it is told to exit."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="error", http=HangUpProtocol, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.002)
    port = server.servers[0].sockets[0].getsockname()[1]
    return server, thread, f"http://127.0.0.1:{port}"


def _run(folder: Path) -> Iterator[Api]:
    clock, company, faults = StandClock(), SmallCompany(), salesforce_faults()
    org = SalesforceOrg(folder, company, clock)
    server, thread, base = serve(build_app(org, faults=faults))
    api = Api(org, faults, base, clock, company)
    api.login()
    yield api
    api.session.close()
    server.should_exit = True
    thread.join(10)
    org.close()


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """An org of the test's own."""
    yield from _run(tmp_path / "salesforce")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One org for tests that only read."""
    yield from _run(tmp_path_factory.mktemp("salesforce"))
