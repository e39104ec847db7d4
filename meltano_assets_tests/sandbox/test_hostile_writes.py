"""Bodies that make no sense get the vendor's error from every service that takes writes, never a crash."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_marketo import Client as Marketo

NAMES = {
    "zendesk": "ticket user organization group macro identity tickets users groups ids comment tags",
    "lever": "emails stage reason tags postings archived value text name email links createdAt",
    "marketo": "input action lookupField programName statusName formId attributes apiName",
    "zuora": "Name name currency billToContact objects subscribeToRatePlans subscriptions add update",
}
PATHS = {
    "zendesk": "tickets tickets/create_many users users/create_or_update users/create_or_update_many"
    " organizations groups groups/create_many macros uploads imports/tickets tickets/1/tags views/5",
    "lever": "opportunities opportunities/ID/stage opportunities/ID/archived opportunities/ID/addTags"
    " opportunities/ID/notes opportunities/ID/files contacts/x postings users requisitions",
    "marketo": "rest/v1/leads.json rest/v1/leads/push.json rest/v1/leads/delete.json"
    " rest/v1/leads/submitForm.json rest/v1/lists/3001/leads.json rest/v1/activities/external.json"
    " rest/v1/activities/external/type.json rest/v1/programs/1001/members/status.json"
    " rest/v1/campaigns/2001/trigger.json rest/v1/customobjects/workshop_c.json"
    " rest/v1/leads/schema/fields.json rest/asset/v1/staticLists.json bulk/v1/leads.json",
    "zuora": "v1/object/account v1/action/create v1/action/update v1/action/delete v1/accounts"
    " v1/contacts v1/subscriptions v1/orders v1/accounts/ID v1/object/account/ID",
}
#: What stands where something else belongs.
VALUES = (None, 5, "x", [], [5], {}, [{}], [[]], {"name": 5, "id": "x"}, [{"id": [], "email": {}}])


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A company of these tests' own."""
    folder = tmp_path_factory.mktemp("hostile")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Sandbox(manifest)


def session(sandbox: Sandbox, service: str) -> tuple[requests.Session, str, str]:
    """A client with its login, the address, and the id of a record."""
    known, client = sandbox.manifest[service], requests.Session()
    base = str(known["base_url"])
    if service == "zendesk":
        client.auth = (f"{known['email']}/token", str(known["api_token"]))
        return client, f"{base}/api/v2", "1"
    if service == "lever":
        client.auth = (str(known["api_key"]), "")
        user = client.get(f"{base}/users", timeout=10).json()["data"][0]["id"]
        client.params = {"perform_as": user}
        return client, base, client.get(f"{base}/opportunities", timeout=10).json()["data"][0]["id"]
    if service == "marketo":
        client.headers.update(Marketo(known).headers)
        return client, base, "1"
    client.headers["apiAccessKeyId"] = str(known["username"])
    client.headers["apiSecretAccessKey"] = str(known["password"])
    accounts = client.get(f"{base}/object-query/accounts", timeout=10).json()["data"]
    return client, base, accounts[0]["id"]


@pytest.mark.parametrize("service", NAMES)
def test_bodies_that_make_no_sense_are_refused(sandbox: Sandbox, service: str) -> None:
    client, base, known = session(sandbox, service)
    bodies: list[object] = [None, 5, [], "x", {}]
    bodies += [{name: value} for name in NAMES[service].split() for value in VALUES]
    for path, method in itertools.product(PATHS[service].split(), ("POST", "PUT")):
        url = f"{base}/{path.replace('ID', known)}"
        for body in bodies:
            answer = client.request(method, url, json=body, timeout=10)
            assert answer.status_code < 500, (method, path, body)
        for raw in (b"", b"{", b"\xff\xfe"):
            answer = client.request(method, url, data=raw, timeout=10)
            assert answer.status_code < 500, (method, path, raw)


@pytest.mark.parametrize("service", NAMES)
def test_ids_that_are_no_numbers_lead_nowhere(sandbox: Sandbox, service: str) -> None:
    """Digits beyond every database, and what only looks like a digit."""
    client, base, _ = session(sandbox, service)
    paths = {
        "zendesk": "tickets/ID users/ID/tags views/ID/count incremental/tickets/cursor?start_time=ID",
        "lever": "opportunities/ID opportunities?limit=ID opportunities?created_at_start=ID",
        "marketo": "rest/v1/lead/ID.json rest/v1/programs/ID/members.json rest/v1/lists/ID.json"
        " rest/asset/v1/program/ID.json rest/v1/leads.json?filterType=id&filterValues=ID"
        " rest/v1/leads.json?filterType=programId&filterValues=ID",
        "zuora": "v1/accounts/ID v1/invoices?page=ID v1/catalog/products?page=ID"
        " v1/subscriptions/ID/versions/ID query/jobs?pageSize=ID",
    }[service]
    for path, number in itertools.product(paths.split(), ("9" * 5000, "9" * 25, "²", "-1")):
        answer = client.get(f"{base}/{path.replace('ID', number)}", timeout=10)
        assert answer.status_code < 500, (path, number[:30])


@pytest.mark.parametrize("service", NAMES)
def test_cursors_that_nobody_gave_lead_nowhere(sandbox: Sandbox, service: str) -> None:
    client, base, _ = session(sandbox, service)
    big = "9" * 5000
    forged = [f'{{"o":"id","v":{big}}}', f"{big}.0||{big}|", f"leads:{big}:0", f"0.{big}"]
    cursors = ["é", "²", "=", "a", *(base64.urlsafe_b64encode(t.encode()).decode() for t in forged)]
    paths = {
        "zendesk": "tickets?page[after]=ID tickets?page[before]=ID"
        " incremental/tickets/cursor?cursor=ID search/export?query=a&filter[type]=ticket&page[after]=ID",
        "lever": "opportunities?offset=ID",
        "marketo": "rest/v1/lists.json?nextPageToken=ID rest/v1/activities.json?nextPageToken=ID"
        "&activityTypeIds=1",
        "zuora": "object-query/accounts?cursor=ID",
    }[service]
    for path, cursor in itertools.product(paths.split(), cursors):
        answer = client.get(f"{base}/{path.replace('ID', quote(cursor))}", timeout=10)
        assert answer.status_code < 500, (path, cursor[:30])


@pytest.mark.parametrize("scheme", ["Basic", "Bearer", "OAuth", "Token"])
def test_credentials_that_cannot_be_read_are_wrong(sandbox: Sandbox, scheme: str) -> None:
    paths = {
        "zendesk": "/api/v2/tickets.json", "lever": "/stages", "marketo": "/rest/v1/lists.json",
        "zuora": "/v1/accounts/1", "stripe": "/v1/customers", "clearbit": "/v2/companies/find",
        "salesforce": "/services/data/v59.0/sobjects", "discoverorg": "/papi/v1/search/companies",
        "netsuite": "/services/rest/record/v1/customer",
    }  # fmt: skip
    for service, path in paths.items():
        url = str(sandbox.manifest[service]["base_url"]) + path
        for rest in (b"\xe9", b"\xff\xfe", b"=", b"a" * 5000, b"", b",=,", b'a="\xe9"'):
            headers: Any = {"Authorization": scheme.encode() + b" " + rest}
            answer = requests.get(url, headers=headers, timeout=10)
            assert answer.status_code < 500, (service, rest[:20])


def test_numbers_of_any_length_are_refused_in_headers_and_parameters(sandbox: Sandbox) -> None:
    big = "9" * 5000
    stripe = sandbox.manifest["stripe"]
    for name in ("limit", "created", "created[gte]", "starting_after"):
        answer = requests.get(
            f"{stripe['base_url']}/v1/customers", params={name: big}, timeout=10,
            auth=(str(stripe["api_key"]), ""),
        )  # fmt: skip
        assert answer.status_code == 400, name
    known = sandbox.manifest["salesforce"]
    form = {"grant_type": "client_credentials", "client_id": known["client_id"],
            "client_secret": known["client_secret"]}  # fmt: skip
    base = str(known["base_url"])
    token = requests.post(f"{base}/services/oauth2/token", data=form, timeout=10).json()
    login = {"Authorization": f"Bearer {token['access_token']}"}
    data = f"{base}/services/data/v59.0"
    for path, headers in (
        ("query?q=SELECT+Id+FROM+Account", {"Sforce-Query-Options": f"batchSize={big}"}),
        (f"query/01g{'a' * 15}-{big}", {}),
        (f"jobs/query/750/results?maxRecords={big}", {}),
    ):
        answer = requests.get(f"{data}/{path}", headers={**login, **headers}, timeout=10)
        assert answer.status_code < 500, path[:40]
    told = (
        '<jobInfo xmlns="http://www.force.com/2009/06/asyncapi/dataload"><operation>query</operation>'
        "<object>Account</object><contentType>CSV</contentType></jobInfo>"
    )
    chunks = {"X-SFDC-Session": token["access_token"], "Content-Type": "application/xml",
              "Sforce-Enable-PKChunking": f"chunkSize={big}"}  # fmt: skip
    answer = requests.post(f"{base}/services/async/59.0/job", told, headers=chunks, timeout=10)
    assert answer.status_code < 500
