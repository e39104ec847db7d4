"""Zuora's wire: logins, describe, ZOQL pages, AQuA jobs and their files.

Belongs here: the protocol and its errors, which come in six shapes, some with HTTP 200. Does not
belong here: streams, windows and columns (``sources/zuora.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import uuid4

from meltano_assets.clients.http import HttpClient, json_object, oauth_token
from meltano_assets.clients.jobs import Poll, Progress
from meltano_assets.clients.policy import (
    Action,
    ErrorTable,
    KeysAuth,
    LoopGuard,
    Response,
    Transport,
)
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import VendorJob

T = TypeVar("T")
Parse = Callable[[Iterator[bytes]], Iterator[tuple[T, int]]]

SOURCE = "zuora"
#: Zuora asks for two minutes of rest when too many requests run side by side.
_REST_SECONDS = 120.0
_ACTIONS: Mapping[str | int, Action] = {
    404: "gone",
    "INVALID_QUERY_LOCATOR": "later",
    "INVALID_SESSION": "refresh",
    "90000011": "refresh",
    # In answers of status 200, too: what the vendor asks to try again.
    "LOCK_COMPETITION": "retry",
    "REQUEST_EXCEEDED_RATE": "throttle",
    "SERVER_UNAVAILABLE": "retry",
    "TRANSACTION_TERMINATED": "retry",
    "UNKNOWN_ERROR": "retry",
}
_ZOQL_ROWS = 2_000
#: What comes in the place of a file when something went wrong on the way.
_NO_FILES = frozenset({"text/html", "application/json"})
_OVER = frozenset({"error", "aborted", "cancelled", "failed"})

#: Exports are ready within seconds or within hours; Zuora ends them after three.
POLL = Poll(first_seconds=0.5, max_seconds=60.0, growth=1.6, deadline_seconds=4 * 3600.0)


class RefusedQueryError(FatalError):
    """AQuA will not run the query as it stands."""


@dataclass(frozen=True, slots=True)
class Description:
    """What an object offers, each by lower-case name: fields of exports, fields of ZOQL, joins."""

    exported: Mapping[str, str]
    queried: Mapping[str, str]
    joins: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Export:
    """What an AQuA job is to bring. ``since`` makes it stateful: an increment of ``partner``'s
    ``project``, in the tenant's zone, with what was deleted where ``has_deleted``.
    """

    name: str
    query: str
    partner: str = ""
    project: str = ""
    since: str | None = None
    has_deleted: bool = False

    def request(self) -> dict[str, object]:
        """The order as AQuA wants it."""
        query: dict[str, object] = {"name": self.name, "query": self.query, "type": "zoqlexport"}
        order: dict[str, object] = {
            "format": "csv",
            "version": "1.2",
            "name": self.name[:32],
            "encrypted": "none",
            "useQueryLabels": "true",
            "dateTimeUtc": "true",
            "queries": [query],
        }
        if self.since is not None:
            order |= {
                "partner": self.partner,
                "project": self.project,
                "incrementalTime": self.since,
            }
            if self.has_deleted:
                query["deleted"] = {"column": "Deleted", "format": "Boolean"}
        return order


@dataclass(slots=True)
class AquaJob(Generic[T]):
    """An AQuA job as ``run_job`` drives it. ``parse`` makes of a file's bytes what it yields, each
    with the number of its rows.
    """

    http: HttpClient
    export: Export
    parse: Parse[T]
    jobs: str = "/v1/batch-query"

    def order(self) -> str:
        """Order the job; RefusedQueryError when its query will not do."""
        answer = self.http.fetch(
            "POST",
            f"{self.jobs}/",
            json=self.export.request(),
            # Of this order alone: one that replaces a lost job must not get that job again.
            headers={"Idempotency-Key": uuid4().hex},
            parse=json_object,
            is_repeatable=True,
        )
        message = str(answer.get("message") or "")
        if message or answer.get("status") == "error":
            raise RefusedQueryError(
                f"Zuora refused the export: {self.http.redact(message) or 'no reason given'}",
                source=SOURCE,
            )
        return str(answer["id"])

    def check(self, job: VendorJob) -> Progress:
        """Ask for its state once."""
        answer = self.http.get_json(f"{self.jobs}/jobs/{job.id}")
        state = str(answer.get("status"))
        if state == "completed":
            return Progress(state, "ready", answer)
        reasons = [answer.get("message"), *(b.get("message") for b in _batches(answer))]
        reason = next((str(text) for text in reasons if text), "")
        is_over = state in _OVER
        return Progress(state, "failed" if is_over else "running", answer, self.http.redact(reason))

    def read(self, job: VendorJob, progress: Progress) -> Iterator[T]:
        """The files' content; RetriableError when there is less than the job counted.

        A file that does not end a line may be cut inside a value: its end waits for the count.
        """
        (batch,) = _batches(progress.answer) or [{}]
        segments = batch.get("segments")
        files = segments if isinstance(segments, list) and segments else [batch.get("fileId")]
        rows = 0
        doubtful: list[T] = []
        for file in files:
            with self.http.download(f"/v1/file/{file}") as (told, chunks):
                kind = told.get("Content-Type", "").partition(";")[0]
                if kind in _NO_FILES:
                    raise RetriableError(
                        f"instead of the file of job {job.id} came {kind}",
                        source=SOURCE,
                        hint="run it again: the file is fetched anew",
                    )
                ends: list[bytes] = [b""]
                held: list[T] = []
                for item, count in self.parse(_watched(chunks, ends)):
                    rows += count
                    yield from held
                    held = [item]
                if ends[0].endswith(b"\n"):
                    yield from held
                else:
                    doubtful += held
        wanted = batch.get("recordCount")
        if not isinstance(wanted, int) or wanted == rows:
            yield from doubtful
        else:
            raise RetriableError(
                f"the files of job {job.id} hold {rows} records, Zuora counted {wanted}",
                source=SOURCE,
                hint="run it again: what is there is kept, and all of it is read once more",
            )


def _watched(chunks: Iterator[bytes], ends: list[bytes]) -> Iterator[bytes]:
    """The chunks, with the last bytes of what was read so far in ``ends``."""
    for chunk in chunks:
        ends[0] = chunk[-1:]
        yield chunk


def _batches(answer: Mapping[str, object]) -> list[Mapping[str, object]]:
    batches = answer.get("batches")
    return [b for b in batches if isinstance(b, dict)] if isinstance(batches, list) else []


class ZuoraClient:
    """One tenant (and entity), by OAuth where a client id is set, else by user and password."""

    def __init__(
        self, settings: Mapping[str, str], *, transport: Transport | None = None, hint: str = ""
    ) -> None:
        headers = {}
        if entity := settings.get("entity_id"):
            headers["Zuora-Entity-Ids"] = entity
        secrets = [settings[n] for n in ("client_secret", "password") if settings.get(n)]
        self.http = HttpClient(
            settings["base_url"],
            source=SOURCE,
            errors=ErrorTable(
                _detail, _ACTIONS, in_success=True, waits={"50000070": _REST_SECONDS}
            ),
            headers=headers,
            transport=transport,
            secrets=secrets,
            hint=hint,
        )
        self._login: HttpClient | None = None
        if settings.get("client_id"):
            self._login = HttpClient(
                settings["base_url"],
                source=SOURCE,
                errors=ErrorTable(_detail, {401: "fatal"}),
                transport=transport,
                secrets=secrets,
                hint=hint,
            )
            form = {name: settings[name] for name in ("client_id", "client_secret")}
            self.http.auth = oauth_token(
                self._login, "/oauth/token", {**form, "grant_type": "client_credentials"}
            )
        else:
            self.http.auth = KeysAuth(
                {
                    "apiAccessKeyId": settings["username"],
                    "apiSecretAccessKey": settings["password"],
                }
            )
        self._described: dict[str, Description] = {}

    def close(self) -> None:
        """Close kept connections."""
        self.http.close()
        if self._login is not None:
            self._login.close()

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self.http.requests + (self._login.requests if self._login else 0)

    def describe(self, name: str) -> Description:
        """What the object offers to this user; GoneError when there is no such object."""
        if name not in self._described:
            self._described[name] = self.http.fetch(
                "GET", f"/v1/describe/{name}", parse=_description
            )
        return self._described[name]

    def count(self, name: str) -> int | None:
        """How many records of the object ZOQL finds."""
        request = {"queryString": f"select Id from {name}", "conf": {"batchSize": 1}}
        answer = self.http.fetch(
            "POST", "/v1/action/query", json=request, parse=json_object, is_repeatable=True
        )
        size = answer.get("size")
        return size if isinstance(size, int) else None

    def query_pages(self, zoql: str, parse: Callable[[Response], T]) -> Iterator[T]:
        """The pages of a ZOQL query."""
        guard = LoopGuard(SOURCE)
        link = "/v1/action/query"
        request: dict[str, object] = {"queryString": zoql, "conf": {"batchSize": _ZOQL_ROWS}}
        while True:
            following: list[tuple[object, object]] = []

            def read(response: Response, following: list[tuple[object, object]] = following) -> T:
                answer = json_object(response)
                if not answer.get("done", True):
                    following.append((answer["queryLocator"], answer.get("records")))
                return parse(response)

            yield self.http.fetch("POST", link, json=request, parse=read, is_repeatable=True)
            if not following:
                return
            locator, records = following[-1]
            guard.check(locator, records)
            link, request = "/v1/action/queryMore", {"queryLocator": locator}


def _detail(response: Response) -> tuple[str, str]:
    """Code and message in any of Zuora's shapes; nothing for a good answer, and none for a job."""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    if not isinstance(body, dict) or "batches" in body:
        return "", ""
    lists = [body.get(name) for name in ("reasons", "Errors", "errors")]
    first = next((items[0] for items in lists if isinstance(items, list) and items), None)
    for code, message, where in (
        ("code", "message", first),
        ("Code", "Message", first),
        ("FaultCode", "FaultMessage", body),
        ("faultcode", "faultstring", body),
        ("errorCode", "message", body),
    ):
        if isinstance(where, dict) and where.get(code):
            return str(where[code]).removeprefix("fns:"), str(where.get(message) or "")
    if body.get("success") is False or response.status >= 300:
        return ("" if response.status >= 300 else "failure"), str(body.get("message") or "")
    return "", ""


def _description(response: Response) -> Description:
    """Reads the XML of ``/v1/describe/{object}``; ValueError when it is none or has entities."""
    from lxml import etree  # type: ignore[import-untyped]  # ships no types

    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False)
    try:
        root = etree.fromstring(response.body, parser)
    except etree.XMLSyntaxError:
        raise ValueError("not XML") from None
    if root.getroottree().docinfo.doctype:
        raise ValueError("a document type where none belongs")
    exported: dict[str, str] = {}
    queried: dict[str, str] = {}
    for item in root.iterfind("fields/field"):
        name = item.findtext("name") or ""
        contexts = {context.text for context in item.iterfind("contexts/context")}
        if "export" in contexts:
            exported[name.lower()] = name
        if "soap" in contexts:
            queried[name.lower()] = name
    joins = {
        name.lower(): name
        for item in root.iterfind("related-objects/object")
        if (name := item.findtext("name"))
    }
    return Description(exported, queried, joins)
