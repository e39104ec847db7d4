"""What clients write to Marketo, by its contract, over a real socket."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from meltano_assets.sandbox.server import serve_in_thread
from meltano_assets_tests.sandbox.conftest import TODAY, Sandbox
from meltano_assets_tests.sandbox.test_marketo import Client, span

LEADS = "/rest/v1/leads.json"


class Writer(Client):
    """A client that writes, too."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox.manifest["marketo"])
        self.sandbox = sandbox

    def results(self, path: str, body: object = None) -> list[dict[str, Any]]:
        answer = self.post(path, body)
        assert answer["success"], answer
        return answer["result"]

    def save(self, *leads: dict[str, Any], **told: object) -> list[dict[str, Any]]:
        return self.results(LEADS, {"input": list(leads), **told})

    def found(self, value: object, by: str = "email", fields: str = "") -> list[dict[str, Any]]:
        names = {"fields": fields} if fields else {}
        return self.get(LEADS, filterType=by, filterValues=value, **names)["result"]

    def activities(self, *types: int, lead: int) -> list[dict[str, Any]]:
        token = self.get("/rest/v1/activities/pagingtoken.json", sinceDatetime="2020-01-01")
        found: list[dict[str, Any]] = []
        token["moreResult"] = True
        while token["moreResult"]:
            token = self.get(
                "/rest/v1/activities.json",
                nextPageToken=token["nextPageToken"],
                activityTypeIds=",".join(map(str, types)),
                leadIds=lead,
            )
            found += token.get("result", [])
        return found


def codes(results: list[dict[str, Any]]) -> list[str]:
    """What each record's result says."""
    return [r["reasons"][0]["code"] if r["status"] == "skipped" else r["status"] for r in results]


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writer]:
    """A subscription of these tests' own."""
    folder = tmp_path_factory.mktemp("subscription")
    with serve_in_thread(state_dir=folder, seed=7, scale=0.05, today=TODAY) as manifest:
        yield Writer(Sandbox(manifest))


def test_leads_are_saved_one_by_one_and_found_everywhere(writer: Writer) -> None:
    ann = {"email": "Ann@New.example", "firstName": "Ann", "leadScore": "7", "unsubscribed": "1"}
    results = writer.save(
        ann,
        {"email": "bob@new.example", "nonsense": 1},
        {"email": "cat@new.example", "leadScore": "seven"},
        {"firstName": "Nobody"},
        {"email": "dan@new.example", "createdAt": "2020-01-01T00:00:00Z"},
        {"email": "ann@new.EXAMPLE", "firstName": "Anne"},
    )
    assert codes(results) == ["created", "1006", "1001", "1003", "1011", "updated"]
    number = results[0]["id"]
    assert results[5]["id"] == number
    (lead,) = writer.found("ann@new.example", fields="firstName,leadScore,unsubscribed,createdAt")
    told = (lead["firstName"], lead["leadScore"], lead["unsubscribed"])
    assert told == ("Anne", 7, True)
    new, *changes = writer.activities(12, 13, lead=number)
    assert new["activityTypeId"] == 12
    assert [c["primaryAttributeValue"] for c in changes] == ["Email", "First name"]
    change = changes[1]
    attributes = {item["name"]: item["value"] for item in change["attributes"]}
    assert (attributes["Old Value"], attributes["New Value"]) == ("Ann", "Anne")
    day = span(lead["createdAt"][:10], lead["createdAt"][:10])
    day["endAt"] = day["endAt"].replace("00:00:00", "23:59:59")
    job = writer.export("leads", ["id", "email"], {"createdAt": day})
    rows = list(csv.DictReader(io.StringIO(writer.file("leads", job).text)))
    assert [row["email"] for row in rows if row["id"] == str(number)] == ["ann@new.EXAMPLE"]


def test_actions_and_lookup_fields_decide(writer: Writer) -> None:
    known = {"email": "eve@new.example", "lastName": "E"}
    (made,) = writer.save(known)
    assert codes(writer.save(known, action="createOnly")) == ["1005"]
    other = {"email": "fay@new.example"}
    assert codes(writer.save(other, action="updateOnly")) == ["1004"]
    (twin,) = writer.save(known, action="createDuplicate")
    assert twin["id"] != made["id"]
    assert codes(writer.save(known)) == ["1007"]
    by_id = {"id": made["id"], "lastName": None}
    assert codes(writer.save(by_id, {"id": 5}, lookupField="id")) == ["updated", "1004"]
    (kept,) = writer.found(made["id"], by="id", fields="lastName")
    assert kept["lastName"] is None
    for wrong in (
        {"action": "replace"},
        {"lookupField": "nonsense"},
        {"partitionName": "Elsewhere"},
        {"input": []},
        {"input": [{"email": f"{n}@x.example"} for n in range(301)]},
    ):
        assert writer.post(LEADS, {"input": [known], **wrong})["success"] is False


def test_deleted_and_merged_leads_are_gone(writer: Writer) -> None:
    three = writer.save(*({"email": f"m{n}@new.example", "title": f"t{n}"} for n in range(3)))
    first, second, third = (result["id"] for result in three)
    gone = writer.results("/rest/v1/leads/delete.json", {"input": [{"id": third}, {"id": 4}]})
    assert codes(gone) == ["deleted", "1004"]
    token = writer.get("/rest/v1/activities/pagingtoken.json", sinceDatetime="2020-01-01")
    deleted: list[int] = []
    token["moreResult"] = True
    while token["moreResult"]:
        token = writer.get(
            "/rest/v1/activities/deletedleads.json", nextPageToken=token["nextPageToken"]
        )
        deleted += [a["leadId"] for a in token.get("result", [])]
    assert third in deleted
    writer.save({"id": second, "website": "https://kept.example"}, lookupField="id")
    assert writer.post(f"/rest/v1/leads/{first}/merge.json?leadIds={second}")["success"]
    (kept,) = writer.found(first, by="id", fields="title,website")
    assert (kept["title"], kept["website"]) == ("t0", "https://kept.example")
    assert writer.found(second, by="id") == []
    again = writer.post(f"/rest/v1/leads/{first}/merge.json?leadIds={second}")
    assert writer.code(again) == "1004"


def test_lists_take_and_lose_leads(writer: Writer) -> None:
    (made,) = writer.save({"email": "list@new.example"})
    lead = made["id"]
    form = {"name": "Mine", "folder": '{"id": 20, "type": "Folder"}'}
    url = f"{writer.base}/rest/asset/v1/staticLists.json"
    answer = requests.post(url, data=form, headers=writer.headers, timeout=10).json()
    number = answer["result"][0]["id"]
    again = requests.post(url, data=form, headers=writer.headers, timeout=10).json()
    assert writer.code(again) == "709"
    path = f"/rest/v1/lists/{number}/leads"
    assert codes(writer.results(f"{path}.json", {"input": [{"id": lead}, {"id": 3}]})) == [
        "added",
        "1004",
    ]
    assert [r["id"] for r in writer.get(f"{path}.json")["result"]] == [lead]
    assert codes(writer.get(f"{path}/ismember.json", id=lead)["result"]) == ["memberof"]
    asked = writer.results(f"{path}/ismember.json?_method=GET", {"input": [{"id": lead}]})
    assert codes(asked) == ["memberof"]
    (membership,) = writer.get(f"/rest/v1/leads/{lead}/listMembership.json")["result"]
    assert membership["listId"] == number
    for expected in ("removed", "1015"):
        answer = requests.delete(
            f"{writer.base}{path}.json",
            json={"input": [{"id": lead}]},
            headers=writer.headers,
            timeout=10,
        ).json()
        assert codes(answer["result"]) == [expected]
    kinds = [a["activityTypeId"] for a in writer.activities(24, 25, lead=lead)]
    assert kinds == [24, 25]
    assert writer.code(writer.post("/rest/v1/lists/9/leads.json", {"input": [{"id": 1}]})) == "1013"
    assert writer.post(f"/rest/asset/v1/staticList/{number}/delete.json")["success"]
    assert writer.code(writer.get(f"{path}.json")) == "1013"


def test_programs_take_leads(writer: Writer) -> None:
    program = writer.get("/rest/asset/v1/programs.json")["result"][0]
    number, name = program["id"], program["name"]
    (pushed,) = writer.results(
        "/rest/v1/leads/push.json",
        {"programName": name, "programStatus": "Registered", "input": [{"email": "p@new.example"}]},
    )
    lead = pushed["id"]
    path = f"/rest/v1/programs/{number}/members"

    def member() -> dict[str, Any]:
        found = writer.get(f"{path}.json", filterType="leadId", filterValues=lead)
        return found["result"][0]

    assert member()["statusName"] == "Registered"
    told = {"statusName": "Responded", "input": [{"leadId": lead}, {"leadId": 2}]}
    assert codes(writer.results(f"{path}/status.json", told)) == ["updated", "1004"]
    assert member()["statusName"] == "Responded"
    change = {"input": [{"leadId": lead, "registrationCode": "r-1"}]}
    assert codes(writer.results(f"{path}.json", change)) == ["updated"]
    assert member()["registrationCode"] == "r-1"
    gone = writer.results(f"{path}/delete.json", {"input": [{"leadId": lead}]})
    assert codes(gone) == ["deleted"]
    missing = writer.post("/rest/v1/leads/push.json", {"input": [{"email": "p@new.example"}]})
    assert writer.code(missing) == "1002"


def test_activities_of_ones_own(writer: Writer) -> None:
    (made,) = writer.save({"email": "act@new.example"})
    kind = {
        "apiName": "visitedBooth",
        "name": "Visited booth",
        "filterName": "f",
        "triggerName": "t",
        "primaryAttribute": {"apiName": "booth", "name": "Booth", "dataType": "string"},
    }
    base = "/rest/v1/activities/external"
    (begun,) = writer.results(f"{base}/type.json", kind)
    entry = {
        "leadId": made["id"],
        "activityTypeId": begun["id"],
        "activityDate": "2025-01-02T03:04:05Z",
        "primaryAttributeValue": "B 12",
        "attributes": [{"apiName": "minutes", "value": 4}],
    }
    assert codes(writer.results(f"{base}.json", {"input": [entry]})) == ["1013"]
    added = {"attributes": [{"apiName": "minutes", "name": "Minutes", "dataType": "integer"}]}
    writer.results(f"{base}/type/visitedBooth/attributes/create.json", added)
    assert writer.results(f"{base}/type/visitedBooth/approve.json")[0]["status"] == "approved"
    wrong = {**entry, "attributes": [{"apiName": "hours", "value": 1}]}
    undated = {**entry, "activityDate": "yesterday"}
    results = writer.results(f"{base}.json", {"input": [entry, wrong, undated]})
    assert codes(results) == ["added", "1006", "1003"]
    (done,) = writer.activities(begun["id"], lead=made["id"])
    assert (done["activityDate"], done["primaryAttributeValue"]) == ("2025-01-02T03:04:05Z", "B 12")
    assert done["attributes"] == [{"name": "Minutes", "value": 4}]
    types = writer.get("/rest/v1/activities/types.json")["result"]
    assert begun["id"] in {kind["id"] for kind in types}
    changed = {"attributes": [{"apiName": "minutes", "name": "Length"}]}
    (kind,) = writer.results(f"{base}/type/visitedBooth/attributes/update.json", changed)
    assert [attribute["name"] for attribute in kind["attributes"]] == ["Length"]
    (kind,) = writer.results(f"{base}/type/visitedBooth/attributes/delete.json", changed)
    assert kind["attributes"] == []
    assert writer.results(f"{base}/type/visitedBooth/discardDraft.json") == [kind]


def test_a_lead_tells_the_smart_campaigns_that_touched_it(writer: Writer) -> None:
    programs = writer.get("/rest/asset/v1/programs.json", maxReturn=200)["result"]
    program, lead = next(
        (program["id"], members[0]["id"])
        for program in programs
        if (members := writer.get(f"/rest/v1/leads/programs/{program['id']}.json")["result"])
    )
    answer = writer.get(f"/rest/v1/leads/{lead}/smartCampaignMembership.json")
    touched = answer["result"]
    assert answer["moreResult"] is False
    known = {c["id"]: c for c in writer.get("/rest/v1/campaigns.json")["result"]}
    assert program in {known[c["smartCampaignId"]].get("programId") for c in touched}


def test_a_file_of_leads_is_imported(writer: Writer) -> None:
    text = "email,firstName,leadScore\ni1@new.example,Ida,1\ni2@new.example,Ian,much\nshort\n"
    number = writer.get("/rest/v1/lists.json")["result"][0]["id"]
    url = f"{writer.base}/bulk/v1/leads.json"
    for wrong, code in (({"format": "xml"}, "1003"), ({"format": "csv", "listId": 9}, "1013")):
        answer = requests.post(
            url, params=wrong, files={"file": text}, headers=writer.headers, timeout=10
        )
        assert writer.code(answer.json()) == code
    answer = requests.post(
        url,
        params={"format": "csv", "listId": number},
        files={"file": ("leads.csv", text, "text/csv")},
        headers=writer.headers,
        timeout=10,
    ).json()
    (batch,) = answer["result"]
    assert batch["status"] == "Queued"
    path = f"/bulk/v1/leads/batch/{batch['batchId']}"
    (done,) = writer.get(f"{path}.json")["result"]
    assert (done["status"], done["numOfLeadsProcessed"], done["numOfRowsFailed"]) == (
        "Complete",
        1,
        2,
    )
    failures = requests.get(
        f"{writer.base}{path}/failures.json", headers=writer.headers, timeout=10
    ).text
    assert [row["email"] for row in csv.DictReader(io.StringIO(failures))] == [
        "short",
        "i2@new.example",
    ]
    (lead,) = writer.found("i1@new.example")
    members = writer.get(f"/rest/v1/lists/{number}/leads/ismember.json", id=lead["id"])
    assert codes(members["result"]) == ["memberof"]
    assert writer.code(writer.get("/bulk/v1/leads/batch/7.json")) == "1013"


def test_custom_objects_and_fields(writer: Writer) -> None:
    path = "/rest/v1/customobjects/workshop_c"
    entry = {"leadId": 1_000_001, "workshopName": "Testing"}
    results = writer.results(f"{path}.json", {"input": [entry, entry, {"odd": 1}]})
    assert codes(results) == ["created", "updated", "1006"]
    guid = results[0]["marketoGUID"]
    (found,) = writer.get(f"{path}.json", filterType="marketoGUID", filterValues=guid)["result"]
    assert found["workshopName"] == "Testing"
    gone = writer.results(f"{path}/delete.json", {"input": [{"marketoGUID": guid}] * 2})
    assert codes(gone) == ["deleted", "1013"]
    field = {"displayName": "Shoe size", "name": "shoeSize", "dataType": "integer"}
    made = writer.results("/rest/v1/leads/schema/fields.json", {"input": [field, field]})
    assert codes(made) == ["created", "1017"]
    writer.save({"email": "shoe@new.example", "shoeSize": "44"})
    assert writer.found("shoe@new.example", fields="shoeSize")[0]["shoeSize"] == 44
    crm = writer.post("/rest/v1/companies.json", {"input": [{"company": "x"}]})
    assert writer.code(crm) == "1018"


def test_files_of_members_and_objects_are_imported(writer: Writer) -> None:
    def imported(path: str, text: str, **params: str) -> dict[str, Any]:
        return requests.post(
            f"{writer.base}/bulk/v1/{path}/import.json", params={"format": "csv", **params},
            files={"file": ("f.csv", text, "text/csv")}, headers=writer.headers, timeout=10,
        ).json()  # fmt: skip

    program = writer.get("/rest/asset/v1/programs.json")["result"][0]["id"]
    members = f"program/{program}/members"
    text = "email,firstName\nm1@new.example,Mo\nshort\n"
    assert writer.code(imported(members, text)) == "1002"
    assert writer.code(imported("program/7/members", text, programMemberStatus="Member")) == "1013"
    (batch,) = imported(members, text, programMemberStatus="Registered")["result"]
    path = f"/bulk/v1/program/members/import/{batch['batchId']}"
    (done,) = writer.get(f"{path}/status.json")["result"]
    assert (done["status"], done["numOfRowsFailed"]) == ("Complete", 1)
    lead = writer.found("m1@new.example")[0]["id"]
    joined = writer.get(f"/rest/v1/leads/{lead}/programMembership.json")["result"]
    assert [(m["programId"], m["progressionStatus"]) for m in joined] == [(program, "Registered")]
    failures = requests.get(
        f"{writer.base}{path}/failures.json", headers=writer.headers, timeout=10
    )
    assert "short" in failures.text

    rows = f"leadId,workshopName\n{lead},Imported\n{lead},Imported\n,Nobody\n"
    assert writer.code(imported("customobjects/none_c", rows)) == "1013"
    (batch,) = imported("customobjects/workshop_c", rows)["result"]
    assert batch["objectApiName"] == "workshop_c"
    path = f"/bulk/v1/customobjects/workshop_c/import/{batch['batchId']}"
    (done,) = writer.get(f"{path}/status.json")["result"]
    assert (done["numOfObjectsProcessed"], done["numOfRowsFailed"]) == (2, 1)
    found = writer.get(
        "/rest/v1/customobjects/workshop_c.json", filterType="leadId", filterValues=lead
    )["result"]
    assert [record["workshopName"] for record in found] == ["Imported"]
    assert writer.code(writer.get(f"/bulk/v1/leads/batch/{batch['batchId']}.json")) == "1013"
    assert writer.code(writer.get(f"{path}/wings.json")) == "610"


def test_a_field_of_ones_own_is_renamed(writer: Writer) -> None:
    path = "/rest/v1/leads/schema/fields"
    field = {"displayName": "Hat", "name": "hatSize", "dataType": "integer"}
    writer.results(f"{path}.json", {"input": [field]})
    writer.results(
        f"{path}/hatSize.json", {"input": [{"displayName": "Hat size", "isHidden": True}]}
    )
    (told,) = writer.get(f"{path}/hatSize.json")["result"]
    assert (told["displayName"], told["isHidden"], told["isApiCreated"]) == ("Hat size", True, True)
    for name, code in {"email": "1011", "none": "1006"}.items():
        answer = writer.post(f"{path}/{name}.json", {"input": [{"displayName": "x"}]})
        assert writer.code(answer) == code


def test_what_was_written_outlives_a_restart_and_the_companys_days(tmp_path: Path) -> None:
    where = {"state_dir": tmp_path, "seed": 7, "scale": 0.05, "today": TODAY}
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        (made,) = writer.save({"email": "stay@new.example", "title": "Boss"})
        first = writer.get("/rest/v1/lists/3001/leads.json", batchSize=2)["result"]
        (known,) = writer.save({"id": first[0]["id"], "rating": "hot"}, lookupField="id")
        gone = first[1]["id"]
        writer.results("/rest/v1/leads/delete.json", {"input": [{"id": gone}]})
        before = writer.sandbox.truths()["marketing"]
    with serve_in_thread(**where) as manifest:
        writer = Writer(Sandbox(manifest))
        writer.sandbox.advance(3)
        (lead,) = writer.found("stay@new.example", fields="title")
        assert (lead["id"], lead["title"]) == (made["id"], "Boss")
        assert writer.found(known["id"], by="id", fields="rating")[0]["rating"] == "hot"
        assert writer.found(gone, by="id") == []
        assert writer.save({"email": "later@new.example"})[0]["id"] > made["id"]
        # What the company does itself is told as before.
        after = writer.sandbox.truths()["marketing"]
        assert after["leads"]["live"] >= before["leads"]["live"]
