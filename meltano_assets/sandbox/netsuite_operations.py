"""The operations of the simulated NetSuite, over the books of one moment."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from xml.sax.saxutils import quoteattr

from meltano_assets.sandbox.company_books import Ref, customs_of
from meltano_assets.sandbox.company_netsuite_records import Deleted
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import Fault
from meltano_assets.sandbox.netsuite_contract import Contract
from meltano_assets.sandbox.netsuite_search import (
    MAX_PAGE_SIZE,
    Found,
    OpenSearch,
    OpenSearches,
    Searcher,
    State,
    page_size_of,
    value_of,
)
from meltano_assets.sandbox.netsuite_wire import (
    Node,
    SoapFault,
    StatusError,
    Writer,
    child,
    local,
    moment_text,
    text_of,
)
from meltano_assets.sandbox.netsuite_writes import RecordWriter, WrittenBooks
from meltano_assets.sandbox.numbers import is_number

MAX_GET_LIST = 1000
#: Records that one request may write.
_MOST = {"add": 200, "delete": 200, "update": 100, "upsert": 100}
_GET_ALL = {"currency": "Currency"}
_EMPTY_GET_ALL = frozenset(
    [
        "budgetCategory",
        "campaignCategory",
        "leadSource",
        "salesTaxItem",
        "state",
        "taxGroup",
        "taxType",
        "taxAcct",
        "supportCaseStatus",
        "customRecordType",
        "customList",
    ]
)
_CUSTOM_TYPES = {"entityCustomField": "custentity", "transactionBodyCustomField": "custbody"}


@dataclass(frozen=True, slots=True)
class Account:
    """The books as they are now."""

    state: State
    deleted: list[Deleted]
    now: datetime


@dataclass(frozen=True, slots=True)
class Call:
    """One request that has been let in, and how it is to go wrong."""

    name: str
    operation: Node
    header: Node | None
    base_url: str
    writer: Writer
    searches: OpenSearches
    failure: StatusError | None = None
    repeats_page: bool = False
    changes: Fault | None = None


@dataclass(slots=True)
class Job:
    """What a client asked for without waiting: the answer, ready when it is asked for."""

    job_id: str
    result: str
    pages: Callable[[int], str]


class Operations:
    """Answers calls."""

    def __init__(
        self, contract: Contract, account: Account, books: WrittenBooks, jobs: dict[str, Job]
    ) -> None:
        self._contract = contract
        self._account = account
        self._books = books
        self._jobs = jobs

    def answer(self, call: Call) -> str:
        """The body of the answer; SoapFault for what the role may not do."""
        plain = {
            "search": ("searchResult", self._search),
            "searchMoreWithId": ("searchResult", self._more),
            "getAll": ("getAllResult", self._get_all),
            "getDeleted": ("getDeletedResult", self._get_deleted),
            "getServerTime": ("getServerTimeResult", self._server_time),
            "getDataCenterUrls": ("getDataCenterUrlsResult", self._urls),
            "getSelectValue": ("getSelectValueResult", self._select_values),
            "getCustomizationId": ("getCustomizationIdResult", self._customizations),
            "getSavedSearch": ("getSavedSearchResult", self._saved_searches),
            "getPostingTransactionSummary": ("getPostingTransactionSummaryResult", self._summary),
            "checkAsyncStatus": ("asyncStatusResult", self._job_status),
        }
        messages = {
            "get": ("readResponse", self._get),
            "getList": ("readResponseList", self._get_list),
            "login": ("sessionResponse", self._session),
            "logout": ("sessionResponse", self._session),
        }
        for name in _MOST:
            messages[name] = ("writeResponse", self._write_one)
            messages[f"{name}List"] = ("writeResponseList", self._write_list)
            plain[f"async{name.title()}List"] = ("asyncStatusResult", self._begin)
        plain |= dict.fromkeys(("asyncGetList", "asyncSearch"), ("asyncStatusResult", self._begin))
        if call.name == "getAsyncResult":
            return self._job_result(call)
        known = plain.get(call.name) or messages.get(call.name)
        if known is None:
            if call.name in ("searchMore", "searchNext"):
                raise SoapFault(
                    "unexpectedErrorFault", "INVALID_SEARCH_MORE", f"Use searchMoreWithId instead of {call.name}."
                )  # fmt: skip
            raise SoapFault(
                "insufficientPermissionFault",
                "INSUFFICIENT_PERMISSION",
                f"Permission Violation: the role may not {call.name}.",
            )
        result, handle = known
        package = "core" if call.name in plain else "messages"
        try:
            if call.failure is not None:
                raise call.failure
            content = handle(call)
        except StatusError as error:
            content = call.writer.status(error)
        return call.writer.answer(call.name, result, content, package=package)

    # Searching

    def _search(self, call: Call) -> str:
        return self._page(call, *self._opened(call))

    def _opened(self, call: Call) -> tuple[OpenSearch, int]:
        preferences = child(call.header, "searchPreferences")
        size = page_size_of(preferences)
        body_only = text_of(preferences, "bodyFieldsOnly") not in ("false", "0")
        record = child(call.operation, "searchRecord")
        if record is None:
            record = next(iter(call.operation.iterchildren("*")), None)
        if record is None:
            raise SoapFault("", "", "org.xml.sax.SAXException: searchRecord is missing")
        searcher = Searcher(self._contract, self._account.state, self._account.now)
        found, columns, row_type = searcher.search(record)
        return call.searches.keep(found, columns, row_type, size, body_only), 1

    def _more(self, call: Call) -> str:
        opened = call.searches.find(text_of(call.operation, "searchId"))
        text = text_of(call.operation, "pageIndex")
        pages = -(-len(opened.found) // opened.page_size)
        if not is_number(text) or not 1 <= int(text) <= max(pages, 1):
            raise StatusError(
                "INVALID_SEARCH_PAGE_INDEX", f"There is no page {text}: the search has {pages}."
            )
        return self._page(call, opened, 1 if call.repeats_page else int(text))

    def _page(self, call: Call, opened: OpenSearch, index: int) -> str:
        start = (index - 1) * opened.page_size
        page = opened.found[start : start + opened.page_size]
        pages = -(-len(opened.found) // opened.page_size)
        facts = _facts(len(opened.found), opened.page_size, pages, index)
        facts += f"<core:searchId>{opened.search_id}</core:searchId>"
        return call.writer.status() + facts + self._list(call, opened, page)

    def _list(self, call: Call, opened: OpenSearch, page: list[Found]) -> str:
        if opened.columns:
            kinds = {id(record): kind for kind, record in page}

            def value(record: Record, name: str) -> object:
                return value_of(kinds[id(record)], record, name)

            rows = [record for _, record in page]
            return call.writer.rows(rows, opened.columns, opened.row_type, value)
        changed, extra = changed_by(page, call.changes)
        return call.writer.records(changed, body_only=opened.body_only, extra=extra)

    # Reading by id

    def _find(self, ref: Node) -> Found:
        wanted = (ref.get("type") or "").lower()
        kinds = [kind for kind in self._account.state if kind.lower() == wanted]
        for kind in kinds:
            records = self._account.state[kind]
            if (key := ref.get("internalId")) is not None:
                if key in records:
                    return kind, records[key]
            elif (external := ref.get("externalId")) is not None:
                for record in records.values():
                    if record.get("externalId") == external:
                        return kind, record
        raise StatusError(
            "RCRD_DSNT_EXIST", f"That record does not exist. path: {ref.get('internalId')}"
        )

    def _get(self, call: Call) -> str:
        return self._read(call, next(iter(call.operation.iterchildren("*"))))

    def _read(self, call: Call, ref: Node) -> str:
        kind, record = self._find(ref)
        changed, extra = changed_by([(kind, record)], call.changes)
        return call.writer.status() + call.writer.record(
            kind, changed[0][1], extra=extra, package="messages"
        )

    def _get_list(self, call: Call) -> str:
        refs = list(call.operation.iterchildren("*"))
        if len(refs) > MAX_GET_LIST:
            raise SoapFault(
                "exceededRecordCountFault", "MAX_RCRDS_EXCEEDED", f"At most {MAX_GET_LIST} records."
            )
        answers = []
        for ref in refs:
            try:
                content = self._read(call, ref)
            except StatusError as error:
                content = call.writer.status(error)
            answers.append(f"<messages:readResponse>{content}</messages:readResponse>")
        return call.writer.status() + "".join(answers)

    def _get_all(self, call: Call) -> str:
        record = child(call.operation, "record")
        wanted = record.get("recordType") if record is not None else None
        if wanted in _EMPTY_GET_ALL:
            return call.writer.status() + "<core:totalRecords>0</core:totalRecords>"
        kind = _GET_ALL.get(str(wanted))
        if kind is None:
            raise StatusError("INVALID_RCRD_TYPE", f"{wanted} has no getAll.")
        found, extra = changed_by(
            [(kind, item) for item in self._account.state[kind].values()], call.changes
        )
        return (
            call.writer.status()
            + f"<core:totalRecords>{len(found)}</core:totalRecords>"
            + call.writer.records(found, body_only=False, extra=extra)
        )

    def _get_deleted(self, call: Call) -> str:
        criteria = child(call.operation, "getDeletedFilter")
        searcher = Searcher(self._contract, self._account.state, self._account.now)
        date_field, type_field = child(criteria, "deletedDate"), child(criteria, "type")
        found = [
            item
            for item in self._account.deleted
            if (date_field is None or searcher.holds(item.at, date_field))
            and (type_field is None or searcher.holds(_lower(item.kind), type_field))
        ]
        text = text_of(call.operation, "pageIndex") or "1"
        pages = -(-len(found) // MAX_PAGE_SIZE)
        if not is_number(text) or not 1 <= int(text) <= max(pages, 1):
            raise StatusError("INVALID_PAGE_INDEX", f"There is no page {text}.")
        start = (int(text) - 1) * MAX_PAGE_SIZE
        records = "".join(
            f"<core:deletedRecord><core:deletedDate>{moment_text(item.at)}</core:deletedDate>"
            + call.writer.reference(
                "record", Ref(item.internal_id, item.name), type=_lower(item.kind)
            )
            + "</core:deletedRecord>"
            for item in found[start : start + MAX_PAGE_SIZE]
        )
        return (
            call.writer.status()
            + _facts(len(found), MAX_PAGE_SIZE, pages, int(text))
            + f"<core:deletedRecordList>{records}</core:deletedRecordList>"
        )

    # Writing

    def _write_one(self, call: Call) -> str:
        node = next(iter(call.operation.iterchildren("*")), None)
        if node is None:
            raise SoapFault("", "", f"org.xml.sax.SAXException: {call.name} is empty")
        return self._written(call, call.name, node)

    def _write_list(self, call: Call) -> str:
        name = call.name.removeprefix("async").removesuffix("List").lower()
        nodes = [n for n in call.operation.iterchildren("*") if local(n) != "deletionReason"]
        if len(nodes) > _MOST[name]:
            raise SoapFault(
                "exceededRecordCountFault", "MAX_RCRDS_EXCEEDED", f"At most {_MOST[name]} records."
            )
        answers = []
        for node in nodes:
            try:
                content = self._written(call, name, node)
            except StatusError as error:
                content = call.writer.status(error)
            answers.append(f"<messages:writeResponse>{content}</messages:writeResponse>")
        return call.writer.status() + "".join(answers)

    def _written(self, call: Call, name: str, node: Node) -> str:
        with self._books.lock:
            state = self._books.laid_over(self._account.state)
            writer = RecordWriter(self._contract, state, self._books, self._account.now)
            kind, record = writer.delete(node) if name == "delete" else writer.save(name, node)
        attributes = "".join(
            f" {key}={quoteattr(str(record[key]))}"
            for key in ("internalId", "externalId")
            if record.get(key)
        )
        return call.writer.status() + (
            f'<messages:baseRef{attributes} type="{_lower(kind)}" xsi:type="core:RecordRef"/>'
        )

    # Jobs

    def _begin(self, call: Call) -> str:
        job_id = f"ASYNCWEBSERVICES_{call.searches.account}_{secrets.token_hex(11)}"
        result = call.name[5:]
        if result == "Search":
            opened, _index = self._opened(call)
            job = Job(job_id, result, lambda index: self._page(call, opened, index))
        else:
            content = (self._get_list if result == "GetList" else self._write_list)(call)
            job = Job(job_id, result, lambda _index: content)
        self._jobs[job_id] = job
        return _job(job_id, "pending", 0)

    def _job(self, call: Call) -> Job:
        job_id = text_of(call.operation, "jobId")
        if job_id not in self._jobs:
            raise SoapFault("asyncFault", "INVALID_JOB_ID", f"There is no job {job_id}.")
        return self._jobs[job_id]

    def _job_status(self, call: Call) -> str:
        return _job(self._job(call).job_id, "finished", 100)

    def _job_result(self, call: Call) -> str:
        job = self._job(call)
        index = text_of(call.operation, "pageIndex") or "1"
        inside = {"Search": "core:searchResult", "GetList": "messages:readResponseList"}
        tag = inside.get(job.result, "messages:writeResponseList")
        content = job.pages(int(index) if is_number(index) else 1)
        return (
            "<messages:getAsyncResultResponse><messages:asyncResult"
            f' xsi:type="messages:Async{job.result}Result"><{tag}>{content}</{tag}>'
            "</messages:asyncResult></messages:getAsyncResultResponse>"
        )

    # The account

    def _session(self, call: Call) -> str:
        user = Ref("1", "Sandbox Administrator")
        return call.writer.status() + (
            f'<messages:userId internalId="{user.id}"/>' if call.name == "login" else ""
        )

    def _server_time(self, call: Call) -> str:
        moment = moment_text(self._account.now)
        return call.writer.status() + f"<core:serverTime>{moment}</core:serverTime>"

    def _urls(self, call: Call) -> str:
        urls = "".join(
            f"<core:{name}>{call.base_url}</core:{name}>"
            for name in ("restDomain", "webservicesDomain", "systemDomain")
        )
        return call.writer.status() + f"<core:dataCenterUrls>{urls}</core:dataCenterUrls>"

    def _select_values(self, call: Call) -> str:
        description = child(call.operation, "fieldDescription")
        field = text_of(description, "field")
        record_type = text_of(description, "recordType").lower()
        refs: dict[str, Ref] = {}
        for kind, records in self._account.state.items():
            if kind.lower() == record_type:
                for record in records.values():
                    if isinstance(value := record.get(field), Ref):
                        refs.setdefault(value.id, value)
        listed = "".join(call.writer.reference("baseRef", ref) for ref in refs.values())
        return (
            call.writer.status()
            + f"<core:totalRecords>{len(refs)}</core:totalRecords><core:totalPages>1"
            + f"</core:totalPages><core:baseRefList>{listed}</core:baseRefList>"
        )

    def _customizations(self, call: Call) -> str:
        kind = child(call.operation, "customizationType")
        wanted = kind.get("getCustomizationType") if kind is not None else ""
        prefix = _CUSTOM_TYPES.get(str(wanted), "-")
        names: dict[str, Ref] = {}
        for records in self._account.state.values():
            for record in records.values():
                for place, field in enumerate(customs_of(record)):
                    if field.script_id.startswith(prefix):
                        names.setdefault(field.script_id, Ref(str(place + 100), field.script_id))
        listed = "".join(
            call.writer.reference("customizationRef", ref, "CustomizationRef", scriptId=name)
            for name, ref in names.items()
        )
        return (
            call.writer.status()
            + f"<core:totalRecords>{len(names)}</core:totalRecords>"
            + f"<core:customizationRefList>{listed}</core:customizationRefList>"
        )

    def _saved_searches(self, call: Call) -> str:
        return call.writer.status() + "<core:totalRecords>0</core:totalRecords>"

    def _summary(self, call: Call) -> str:
        """Posted amounts by period and account, as far as the filters allow."""
        filters = child(call.operation, "filters")
        sums: dict[tuple[Ref, Ref], float] = {}
        for period, account, amount in postings(self._account.state):
            if _allows(filters, "period", period) and _allows(filters, "account", account):
                sums[period, account] = sums.get((period, account), 0.0) + amount
        rows = "".join(
            "<core:postingTransactionSummary>"
            f'<core:period internalId="{period.id}"/><core:account internalId="{account.id}"/>'
            f"<core:amount>{round(amount, 2)!r}</core:amount></core:postingTransactionSummary>"
            for (period, account), amount in sums.items()
        )
        return (
            call.writer.status()
            + _facts(len(sums), max(len(sums), 1), 1 if sums else 0, 1)
            + f"<core:postingTransactionSummaryList>{rows}</core:postingTransactionSummaryList>"
        )


def postings(state: State) -> Iterable[tuple[Ref, Ref, float]]:
    """Period, account and amount of every line that is posted: debits positive."""
    for kind, name, field, sign in (
        ("VendorBill", "expenseList", "amount", 1),
        ("JournalEntry", "lineList", "debit", 1),
        ("JournalEntry", "lineList", "credit", -1),
    ):
        for record in state.get(kind, {}).values():
            period, lines = record.get("postingPeriod"), record.get(name)
            for line in cast("list[Record]", lines or []):
                account, amount = line.get("account"), line.get(field)
                if (
                    isinstance(period, Ref)
                    and isinstance(account, Ref)
                    and isinstance(amount, float)
                ):
                    yield period, account, sign * amount


def _job(job_id: str, status: str, percent: int) -> str:
    return (
        f"<core:jobId>{job_id}</core:jobId><core:status>{status}</core:status>"
        f"<core:percentCompleted>{percent}.0</core:percentCompleted>"
        f"<core:estRemainingDuration>{0 if percent == 100 else 1}.0</core:estRemainingDuration>"
    )


def _facts(total: int, size: int, pages: int, index: int) -> str:
    return (
        f"<core:totalRecords>{total}</core:totalRecords><core:pageSize>{size}</core:pageSize>"
        f"<core:totalPages>{pages}</core:totalPages><core:pageIndex>{index}</core:pageIndex>"
    )


def _allows(filters: Node | None, name: str, ref: Ref) -> bool:
    wanted = child(filters, name)
    if wanted is None:
        return True
    return ref.id in {item.get("internalId") for item in wanted.iterchildren("*")}


def changed_by(found: list[Found], fault: Fault | None) -> tuple[list[Found], Mapping[str, object]]:
    """The records as a changed schema would have them, and the fields that came new."""
    if fault is None:
        return found, {}
    drop = fault.options.get("drop")
    dropped = (
        {str(drop)} if isinstance(drop, str) else {str(n) for n in cast("list[str]", drop or [])}
    )
    retype, add = fault.options.get("retype"), fault.options.get("add")
    replaced = retype if isinstance(retype, dict) else {}
    changed = [
        (kind, {**{n: v for n, v in record.items() if n not in dropped}, **replaced})
        for kind, record in found
    ]
    return changed, add if isinstance(add, dict) else {}


def _lower(kind: str) -> str:
    return kind[:1].lower() + kind[1:]
