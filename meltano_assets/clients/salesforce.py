"""The Salesforce protocol: login, REST queries, collections, Bulk API 2.0.

Belongs here: how one talks to any Salesforce organisation. Does not belong here: which objects
and fields (``sources/salesforce.py``), what is written and why (``salesforce_sync``).

The client logs in by itself when first used and once again when a session has expired. After the
login everything goes to the organisation's ``instance_url``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, Protocol, TypeVar, cast
from urllib.parse import quote
from xml.sax.saxutils import escape

from meltano_assets.clients.http import HttpClient, json_object, nothing
from meltano_assets.clients.jobs import MemoryJobs, Poll, Progress, run_job
from meltano_assets.clients.policy import LoopGuard, Response, TokenAuth, Transport
from meltano_assets.clients.salesforce_wire import (
    ERRORS,
    LOGIN_ERRORS,
    BulkFailed,
    BulkResult,
    BulkSaved,
    Record,
    SaveError,
    SaveResult,
    bulk_errors,
    csv_bodies,
    csv_cells,
    job_error,
    nested,
    save_results,
    session,
    text,
    whole_csv,
)
from meltano_assets.errors import FatalError, RetriableError
from meltano_assets.streams import JobKey, VendorJob

__all__ = [
    "BulkFailed",
    "BulkResult",
    "BulkSaved",
    "Poll",
    "SalesforceClient",
    "SaveError",
    "SaveResult",
    "Usage",
]

SOURCE = "salesforce"
DEFAULT_API_VERSION = "59.0"
COLLECTION_SIZE = 200
#: A job takes 150 MB in base64; so much raw text is safely below it.
BULK_BYTES = 90_000_000
BULK_PAGE_ROWS = 25_000

BulkOperation = Literal["insert", "update", "upsert", "delete"]

_HINT = (
    "check SALESFORCE_BASE_URL and SALESFORCE_CLIENT_ID with SALESFORCE_CLIENT_SECRET, or "
    "SALESFORCE_USERNAME, SALESFORCE_PASSWORD and SALESFORCE_SECURITY_TOKEN, in the environment "
    "or in the file .env of the project's root"
)


class QueryPage(Protocol):
    """One page of a query, as far as paging needs it."""

    def get(self, name: str, /) -> object:
        """A member of the answer; None when absent."""
        ...


P = TypeVar("P", bound=QueryPage)


@dataclass(frozen=True, slots=True)
class Usage:
    """Requests of the last 24 hours and how many are allowed, from ``Sforce-Limit-Info``."""

    used: int
    allowed: int


#: Query jobs are ready within moments or within minutes.
POLL = Poll(first_seconds=0.2, max_seconds=10.0, deadline_seconds=3600.0)


@dataclass(slots=True)
class QueryJob:
    """A Bulk 2.0 query as ``run_job`` drives it."""

    http: Callable[[], HttpClient]
    jobs: str
    request: Mapping[str, object]
    page_rows: int = BULK_PAGE_ROWS
    on_job: Callable[[str], None] | None = None

    def order(self) -> str:
        """Order the job."""
        job = self.http().fetch(
            "POST", self.jobs, json=self.request, parse=json_object, is_repeatable=True
        )
        if self.on_job:
            self.on_job(str(job["id"]))
        return str(job["id"])

    def check(self, job: VendorJob) -> Progress:
        """Ask for its state once."""
        answer = self.http().get_json(f"{self.jobs}/{job.id}")
        state = str(answer.get("state"))
        if state == "JobComplete":
            return Progress(state, "ready", answer)
        is_over = state in {"Failed", "Aborted"}
        reason = self.http().redact(job_error(answer)) if is_over else ""
        return Progress(state, "failed" if is_over else "running", answer, reason)

    def read(self, job: VendorJob, progress: Progress) -> Iterator[bytes]:
        """The result's pages."""
        guard = LoopGuard(SOURCE)
        locator = ""
        while True:
            params: dict[str, str | int] = {"maxRecords": self.page_rows}
            if locator:
                params["locator"] = locator
            page = self.http().fetch(
                "GET",
                f"{self.jobs}/{job.id}/results",
                params=params,
                headers={"Accept": "text/csv"},
                parse=whole_csv,
            )
            locator = page.headers.get("Sforce-Locator", "null")
            if locator != "null":
                guard.check(locator)
            if page.body:
                yield page.body
            if locator == "null":
                return


class SalesforceClient:
    """One organisation. ``settings`` use Salesforce's words: ``base_url`` (and ``login_url``
    where it differs), ``api_version``, and one of: ``refresh_token`` with ``client_id``;
    ``client_id`` and ``client_secret``; ``username``, ``password`` and ``security_token``.

    Use it as a context manager. ``requests`` counts all requests, ``usage`` is what Salesforce
    last said about the day's limit.
    """

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        http: Transport | None = None,
        poll: Poll | None = None,
    ) -> None:
        self._settings = {name: str(value) for name, value in settings.items() if value}
        self._transport = http or Transport()
        self._poll = poll or POLL
        self._secrets = tuple(
            self._settings[name]
            for name in ("client_secret", "password", "security_token", "refresh_token")
            if name in self._settings
        )
        self._check_settings()
        login_url = self._settings.get("login_url") or self._settings["base_url"]
        self._login = HttpClient(
            login_url,
            source=SOURCE,
            errors=LOGIN_ERRORS,
            transport=self._transport,
            secrets=self._secrets,
            hint=_HINT,
        )
        self._auth = TokenAuth(self._log_in)
        self._instance: HttpClient | None = None
        self._organization_id: str | None = None
        version = self._settings.get("api_version", DEFAULT_API_VERSION).lstrip("v")
        if not re.fullmatch(r"\d+\.\d", version):
            raise FatalError(
                f"the API version {version!r} is not like 59.0",
                source=SOURCE,
                hint="set SALESFORCE_API_VERSION",
            )
        self.api_version = version
        self._data = f"/services/data/v{version}"

    def __enter__(self) -> SalesforceClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close kept connections; the session at Salesforce runs out by itself."""
        self._login.close()
        if self._instance is not None:
            self._instance.close()

    @property
    def transport(self) -> Transport:
        """What this connection does about time, failure, quota and jobs."""
        return self._transport

    @property
    def poll(self) -> Poll:
        """How this connection awaits bulk jobs."""
        return self._poll

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._login.requests + (self._instance.requests if self._instance else 0)

    @property
    def organization_id(self) -> str:
        """The organisation's id in 15 characters, as the login told it; else it is asked for."""
        assert self._http is not None
        if self._organization_id is None:
            pages = self.query("SELECT Id FROM Organization")
            self._organization_id = next(str(record["Id"]) for page in pages for record in page)
        return self._organization_id[:15]

    @property
    def usage(self) -> Usage | None:
        """The day's use of the API as of the last answer that told it."""
        told = self._instance.last_headers.get("Sforce-Limit-Info", "") if self._instance else ""
        match = re.search(r"api-usage=(\d+)/(\d+)", told)
        return Usage(int(match.group(1)), int(match.group(2))) if match else None

    def redact(self, text: str) -> str:
        """The text without this client's secrets."""
        return (self._instance or self._login).redact(text)

    # -- reading --

    def query(
        self, soql: str, *, include_deleted: bool = False
    ) -> Iterator[list[dict[str, object]]]:
        """The records of a query, page by page, as Salesforce delivers them (with ``attributes``).

        ``include_deleted`` also returns records in the recycle bin (queryAll).
        """
        for page in self.query_pages(soql, include_deleted=include_deleted, parse=json_object):
            yield cast(list[dict[str, object]], page["records"])

    def query_pages(
        self,
        soql: str,
        *,
        include_deleted: bool = False,
        parse: Callable[[Response], P],
        page_size: int = 2000,
    ) -> Iterator[P]:
        """The pages of a query as ``parse`` reads them: something whose ``get`` gives ``done`` and
        ``nextRecordsUrl``. It raises ValueError for a page that is not whole.
        """
        resource = "queryAll" if include_deleted else "query"
        headers = {"Sforce-Query-Options": f"batchSize={page_size}"}
        guard = LoopGuard(SOURCE)

        def read(response: Response) -> tuple[P, str | None]:
            page = parse(response)
            is_done, link = page.get("done"), page.get("nextRecordsUrl")
            if not isinstance(is_done, bool) or not (is_done or isinstance(link, str)):
                raise ValueError("neither the end nor a next page")
            return page, None if is_done else str(link)

        link: str | None = f"{self._data}/{resource}"
        params: dict[str, str | int] = {"q": soql}
        while link:
            page, link = self._http.fetch("GET", link, params=params, headers=headers, parse=read)
            params = {}
            if link:
                guard.check(link)
            yield page

    def count(self, object_name: str, where: str = "", *, include_deleted: bool = False) -> int:
        """How many records an object has, as Salesforce counts them."""
        soql = f"SELECT COUNT() FROM {object_name}" + (f" WHERE {where}" if where else "")
        resource = "queryAll" if include_deleted else "query"
        answer = self._http.get_json(f"{self._data}/{resource}", {"q": soql})
        return int(cast(int, answer["totalSize"]))

    def describe(self, object_name: str) -> dict[str, object]:
        """The object's fields with type, length, picklist values, ``externalId`` and so on."""
        return self._http.get_json(f"{self._data}/sobjects/{quote(object_name, safe='')}/describe")

    def objects(self) -> list[dict[str, object]]:
        """All objects that the user may see: ``name``, ``keyPrefix``, ``label`` and so on."""
        answer = self._http.get_json(f"{self._data}/sobjects")
        return cast(list[dict[str, object]], answer["sobjects"])

    def limits(self) -> dict[str, object]:
        """The organisation's limits and what remains of them."""
        return self._http.get_json(f"{self._data}/limits")

    # -- writing few records: composite collections --

    def create_collection(
        self, object_name: str, records: Sequence[Record], *, all_or_none: bool = False
    ) -> list[SaveResult]:
        """Create records, 200 a request. Not repeated after an unknown outcome."""
        return self._collect(
            "POST", "/composite/sobjects", object_name, records, all_or_none=all_or_none
        )

    def update_collection(
        self, object_name: str, records: Sequence[Record], *, all_or_none: bool = False
    ) -> list[SaveResult]:
        """Update records by their ``Id``, 200 a request."""
        return self._collect(
            "PATCH", "/composite/sobjects", object_name, records, all_or_none=all_or_none
        )

    def upsert_collection(
        self,
        object_name: str,
        external_id: str,
        records: Sequence[Record],
        *,
        all_or_none: bool = False,
    ) -> list[SaveResult]:
        """Create or update records by an external id field, 200 a request; safe to repeat.

        ``Account__r.Meltano_Id__c`` as a key sets a lookup by the parent's external id.
        """
        path = f"/composite/sobjects/{quote(object_name, safe='')}/{quote(external_id, safe='')}"
        return self._collect("PATCH", path, object_name, records, all_or_none=all_or_none)

    def delete_collection(
        self, ids: Sequence[str], *, all_or_none: bool = False
    ) -> list[SaveResult]:
        """Delete records of any object by id, 200 a request."""
        results: list[SaveResult] = []
        for start in range(0, len(ids), COLLECTION_SIZE):
            chunk = ids[start : start + COLLECTION_SIZE]
            params = {"ids": ",".join(chunk), "allOrNone": text(all_or_none)}
            results += self._http.fetch(
                "DELETE",
                f"{self._data}/composite/sobjects",
                params=params,
                parse=partial(save_results, size=len(chunk)),
            )
        return results

    def _collect(
        self,
        method: str,
        path: str,
        object_name: str,
        records: Sequence[Record],
        *,
        all_or_none: bool,
    ) -> list[SaveResult]:
        results: list[SaveResult] = []
        for start in range(0, len(records), COLLECTION_SIZE):
            chunk = [
                {"attributes": {"type": object_name}, **nested(record)}
                for record in records[start : start + COLLECTION_SIZE]
            ]
            results += self._http.fetch(
                method,
                self._data + path,
                json={"allOrNone": all_or_none, "records": chunk},
                parse=partial(save_results, size=len(chunk), is_create=method == "POST"),
                is_repeatable=method == "PATCH",
            )
        return results

    # -- Bulk API 2.0 --

    def bulk_query(
        self,
        soql: str,
        *,
        include_deleted: bool = False,
        page_rows: int = BULK_PAGE_ROWS,
        on_job: Callable[[str], None] | None = None,
    ) -> Iterator[bytes]:
        """The result of a query job as CSV pages in UTF-8, each with its header line.

        ``on_job`` learns the job's id before the wait. The job lives and dies with this read; see
        ``query_job`` for one that survives a crash.
        """
        vendor = self.query_job(soql, include_deleted=include_deleted, page_rows=page_rows)
        vendor.on_job = on_job
        key = JobKey(SOURCE, "query", "bulk query", {"soql": soql})
        yield from run_job(
            key, vendor, replace(self._transport, jobs=MemoryJobs()), poll=self._poll
        )

    def query_job(
        self, soql: str, *, include_deleted: bool = False, page_rows: int = BULK_PAGE_ROWS
    ) -> QueryJob:
        """A query job for ``run_job``: its result is CSV pages in UTF-8, each with its header."""
        return QueryJob(
            lambda: self._http,
            f"{self._data}/jobs/query",
            {
                "operation": "queryAll" if include_deleted else "query",
                "query": soql,
                "contentType": "CSV",
            },
            page_rows,
        )

    def bulk_ingest(
        self,
        object_name: str,
        operation: BulkOperation,
        rows: Iterable[Record],
        external_id: str | None = None,
    ) -> BulkResult:
        """Write rows by as many jobs as their size needs and read what became of each.

        A value of None empties the field, a missing key leaves it alone. A text that reads
        ``#N/A`` cannot be said in an ingest file; its cell is left empty.
        """
        if operation == "upsert" and not external_id:
            raise ValueError("an upsert needs the external id field")
        parts = [
            self._ingest_one(object_name, operation, body, external_id)
            for body in csv_bodies(rows, BULK_BYTES)
        ]
        return BulkResult(
            successful=tuple(row for part in parts for row in part.successful),
            failed=tuple(row for part in parts for row in part.failed),
            unprocessed=tuple(row for part in parts for row in part.unprocessed),
            job_ids=tuple(job for part in parts for job in part.job_ids),
            error=next((part.error for part in parts if part.error), None),
        )

    def _ingest_one(
        self, object_name: str, operation: BulkOperation, body: bytes, external_id: str | None
    ) -> BulkResult:
        jobs = f"{self._data}/jobs/ingest"
        order: dict[str, object] = {
            "object": object_name,
            "operation": operation,
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        if external_id:
            order["externalIdFieldName"] = external_id
        # A job that was ordered twice because the first answer was lost stays open and empty.
        job = self._http.fetch("POST", jobs, json=order, parse=json_object, is_repeatable=True)
        job_id = str(job["id"])
        content = str(job.get("contentUrl") or f"{jobs}/{job_id}/batches")
        self._http.fetch(
            "PUT",
            content,
            data=body,
            headers={"Content-Type": "text/csv; charset=UTF-8"},
            parse=nothing,
        )
        self._http.fetch(
            "PATCH",
            f"{jobs}/{job_id}",
            json={"state": "UploadComplete"},
            parse=nothing,
            is_repeatable=True,
        )
        done = self._await_job(f"{jobs}/{job_id}", {"JobComplete", "Failed", "Aborted"})

        def cells(kind: str, *names: str) -> list[tuple[str, ...]]:
            return self._http.fetch(
                "GET",
                f"{jobs}/{job_id}/{kind}",
                headers={"Accept": "text/csv"},
                parse=lambda response: csv_cells(response, names),
            )

        key = external_id or "Id"
        is_complete = done["state"] == "JobComplete"
        return BulkResult(
            successful=tuple(
                BulkSaved(id, created == "true", told)
                for id, created, told in cells("successfulResults", "sf__Id", "sf__Created", key)
            ),
            failed=tuple(
                BulkFailed(id, bulk_errors(errors), told)
                for id, errors, told in cells("failedResults", "sf__Id", "sf__Error", key)
            ),
            unprocessed=tuple(told for (told,) in cells("unprocessedrecords", key)),
            job_ids=(job_id,),
            error=None if is_complete else f"job {job_id} {done['state']}: {job_error(done)}",
        )

    def _await_job(self, link: str, ends: set[str]) -> dict[str, object]:
        """Ask for a job's state until it ends; RetriableError after the deadline."""
        clock = self._transport.clock
        deadline = clock.monotonic() + self._poll.deadline_seconds
        wait = self._poll.first_seconds
        while True:
            job = self._http.get_json(link)
            state = str(job.get("state"))
            if state in ends:
                return job
            if state in {"Failed", "Aborted"}:
                raise FatalError(
                    self.redact(f"bulk job {job.get('id')} ended as {state}: {job_error(job)}"),
                    source=SOURCE,
                )
            if clock.monotonic() + wait > deadline:
                raise RetriableError(
                    f"bulk job {job.get('id')} is still {state} after "
                    f"{self._poll.deadline_seconds:.0f} s",
                    source=SOURCE,
                    hint="run it again later",
                )
            clock.sleep(wait)
            wait = min(wait * 1.5, self._poll.max_seconds)

    # -- login --

    def _check_settings(self) -> None:
        have = self._settings.keys()
        ways = (
            {"refresh_token", "client_id"},
            {"client_id", "client_secret"},
            {"username", "password"},
        )
        if "base_url" not in have and "login_url" not in have:
            raise FatalError("SALESFORCE_BASE_URL is not set", source=SOURCE, hint=_HINT)
        if not any(way <= have for way in ways):
            raise FatalError("there are no complete credentials", source=SOURCE, hint=_HINT)

    @property
    def _http(self) -> HttpClient:
        """The client of the instance; its address comes with the first login."""
        if self._instance is None:
            self._auth.headers()
        assert self._instance is not None
        return self._instance

    def _log_in(self) -> str:
        have = self._settings
        if "client_id" in have and {"client_secret", "refresh_token"} & have.keys():
            token, instance_url, self._organization_id = self._oauth_login()
        else:
            token, instance_url, self._organization_id = self._soap_login()
        if self._instance is None:
            if self._login.base_url.startswith("https:") and not instance_url.startswith("https:"):
                raise FatalError("the instance's address is not encrypted", source=SOURCE)
            self._instance = HttpClient(
                instance_url,
                source=SOURCE,
                auth=self._auth,
                errors=ERRORS,
                transport=self._transport,
                secrets=self._secrets,
                hint=_HINT,
            )
        return token

    def _oauth_login(self) -> tuple[str, str, str | None]:
        have = self._settings
        form = {"client_id": have["client_id"]}
        if "client_secret" in have:
            form["client_secret"] = have["client_secret"]
        if "refresh_token" in have:
            form |= {"grant_type": "refresh_token", "refresh_token": have["refresh_token"]}
        else:
            form["grant_type"] = "client_credentials"
        answer = self._login.fetch(
            "POST", "/services/oauth2/token", data=form, parse=json_object, is_repeatable=True
        )
        # The identity's address: …/id/ORGANISATION/USER.
        identity = re.search(r"/id/(00D\w{12,15})/", str(answer.get("id", "")))
        organization_id = identity.group(1) if identity else None
        return str(answer["access_token"]), str(answer["instance_url"]), organization_id

    def _soap_login(self) -> tuple[str, str, str | None]:
        user = escape(self._settings["username"])
        password = escape(self._settings["password"] + self._settings.get("security_token", ""))
        envelope = (
            '<?xml version="1.0" encoding="utf-8"?>'
            '<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body>'
            '<login xmlns="urn:partner.soap.sforce.com">'
            f"<username>{user}</username><password>{password}</password>"
            "</login></env:Body></env:Envelope>"
        )
        return self._login.fetch(
            "POST",
            f"/services/Soap/u/{self.api_version}",
            data=envelope.encode(),
            headers={"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"},
            parse=session,
            is_repeatable=True,
        )
