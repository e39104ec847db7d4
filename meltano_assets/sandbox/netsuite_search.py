"""Searching the simulated NetSuite: criteria of every kind of field, columns, and open searches."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from meltano_assets.sandbox.company_books import Custom, Ref
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_contract import Contract
from meltano_assets.sandbox.netsuite_wire import (
    ACCOUNT_ZONE,
    Node,
    SoapFault,
    StatusError,
    as_moment,
    child,
    local,
    parse_moment,
    text_of,
    type_of,
)
from meltano_assets.sandbox.numbers import is_number

#: Record type → its value in the search field ``type``.
TRANSACTION_TYPES = {
    "Invoice": "_invoice",
    "CustomerPayment": "_customerPayment",
    "CreditMemo": "_creditMemo",
    "VendorBill": "_vendorBill",
    "VendorPayment": "_vendorPayment",
    "ExpenseReport": "_expenseReport",
    "JournalEntry": "_journal",
}
ITEM_TYPES = {
    "NonInventorySaleItem": "_nonInventoryItem",
    "ServiceSaleItem": "_service",
    "DiscountItem": "_discount",
}
#: Other names under which a search knows a field of the record.
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "name": ("acctName", "periodName", "entityId", "tranId", "itemId", "name"),
    "number": ("acctNumber",),
    "dateCreated": ("dateCreated", "createdDate"),
    "created": ("createdDate",),
    "lastModified": ("lastModifiedDate",),
    "internalIdNumber": ("internalId",),
    "externalIdString": ("externalId",),
    "amount": ("total", "userTotal"),
    "entity": ("entity", "customer"),
}
#: Join → the field that leads there and the record types that it may lead to.
_JOINS = {
    "customerJoin": (("entity", "customer"), ("Customer",)),
    "vendorJoin": (("entity",), ("Vendor",)),
    "employeeJoin": (("entity",), ("Employee",)),
    "accountJoin": (("account",), ("Account",)),
    "subsidiaryJoin": (("subsidiary",), ("Subsidiary",)),
}
_SUFFIXES = ("SearchAdvanced", "SearchBasic", "Search")
IDLE_SECONDS = 15 * 60.0
MIN_PAGE_SIZE, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE = 5, 1000, 10

State = Mapping[str, Mapping[str, Record]]
Found = tuple[str, Record]


@dataclass(slots=True)
class OpenSearch:
    """A search whose pages can be asked for."""

    search_id: str
    found: list[Found]
    columns: tuple[str, ...]
    row_type: str
    page_size: int
    body_only: bool
    last_used: float


@dataclass(slots=True)
class OpenSearches:
    """The searches of the account; one that nobody asked for in a quarter of an hour is gone."""

    account: str
    clock: Callable[[], float]
    searches: dict[str, OpenSearch] = field(default_factory=dict)

    def keep(
        self,
        found: list[Found],
        columns: tuple[str, ...],
        row_type: str,
        size: int,
        body_only: bool,
    ) -> OpenSearch:
        """Remember what was found."""
        number = "".join(secrets.choice("0123456789") for _ in range(22))
        name = f"WEBSERVICES_{self.account}_{number}"
        opened = OpenSearch(name, found, columns, row_type, size, body_only, self.clock())
        self.searches[name] = opened
        return opened

    def find(self, search_id: str) -> OpenSearch:
        """An open search; StatusError when it is none any more."""
        now = self.clock()
        self.searches = {
            name: item
            for name, item in self.searches.items()
            if now - item.last_used < IDLE_SECONDS
        }
        found = self.searches.get(search_id)
        if found is None:
            raise StatusError(
                "INVALID_SEARCH_MORE",
                "Search results for this searchId are no longer available. Run the search again.",
            )
        found.last_used = now
        return found


def page_size_of(preferences: Node | None) -> int:
    """The page size asked for; StatusError when it is out of bounds."""
    text = text_of(preferences, "pageSize")
    size = int(text) if is_number(text.removeprefix("-")) else DEFAULT_PAGE_SIZE
    if not MIN_PAGE_SIZE <= size <= MAX_PAGE_SIZE:
        raise StatusError(
            "INVALID_SEARCH_PAGE_SIZE",
            f"The page size must be from {MIN_PAGE_SIZE} to {MAX_PAGE_SIZE}, not {size}.",
        )
    return size


class Searcher:
    """Answers one search over the books of a moment."""

    def __init__(self, contract: Contract, state: State, now: datetime) -> None:
        self._contract = contract
        self._state = state
        self._now = now

    def search(self, record: Node) -> tuple[list[Found], tuple[str, ...], str]:
        """What a search record finds, by internal id; its columns, and the type of its rows."""
        kind = type_of(record)
        suffix = next((end for end in _SUFFIXES if kind.endswith(end)), None)
        if suffix is None or kind not in self._contract.types:
            raise SoapFault(
                "", "", f"org.xml.sax.SAXException: {kind or 'nothing'} cannot be searched"
            )
        subject = kind.removesuffix(suffix)
        columns: tuple[str, ...] = ()
        criteria: Node | None = record
        if suffix == "SearchAdvanced":
            if record.get("savedSearchId") or record.get("savedSearchScriptId"):
                raise StatusError("INVALID_SAVED_SRCH", "That saved search does not exist.")
            columns = _columns(child(record, "columns"))
            criteria = child(record, "criteria")
        basic = criteria if suffix == "SearchBasic" else child(criteria, "basic")
        self._refuse_unknown(basic, f"{subject}SearchBasic")
        joins = [
            node
            for node in (criteria.iterchildren("*") if criteria is not None else ())
            if local(node).endswith("Join") and suffix != "SearchBasic"
        ]
        found = [
            (name, item)
            for name in kinds_of(subject, self._state)
            for item in self._state[name].values()
            if self._fits(name, item, basic) and all(self._joined(item, node) for node in joins)
        ]
        found.sort(key=lambda pair: int(str(pair[1]["internalId"])))
        return found, columns, f"{subject}SearchRow"

    def _refuse_unknown(self, basic: Node | None, type_name: str) -> None:
        declared = self._contract.types.get(type_name)
        if basic is None or declared is None:
            return
        known = {element.name for element in declared.elements}
        for node in basic.iterchildren("*"):
            if local(node) not in known:
                raise SoapFault(
                    "",
                    "",
                    f"org.xml.sax.SAXException: Invalid element in {type_name} - {local(node)}",
                )

    def _joined(self, record: Record, node: Node) -> bool:
        if local(node) not in _JOINS:
            raise StatusError("INVALID_SEARCH_JOIN_ID", f"{local(node)} is not supported here.")
        fields, kinds = _JOINS[local(node)]
        for name in fields:
            ref = record.get(name)
            if isinstance(ref, Ref):
                for kind in kinds:
                    other = self._state.get(kind, {}).get(ref.id)
                    if other is not None:
                        return self._fits(kind, other, node)
        return False

    def _fits(self, kind: str, record: Record, criteria: Node | None) -> bool:
        if criteria is None:
            return True
        return all(self._holds(kind, record, node) for node in criteria.iterchildren("*"))

    def _holds(self, kind: str, record: Record, node: Node) -> bool:
        name = local(node)
        if name == "customFieldList":
            return all(self._custom_holds(record, item) for item in node.iterchildren("*"))
        if name == "mainLine":
            return True
        return self.holds(value_of(kind, record, name), node)

    def _custom_holds(self, record: Record, node: Node) -> bool:
        wanted = node.get("scriptId") or node.get("internalId")
        fields = record.get("customFieldList")
        listed = fields if isinstance(fields, list) else []
        value = next(
            (
                item.value
                for item in listed
                if isinstance(item, Custom) and item.script_id == wanted
            ),
            None,
        )
        return self.holds(value, node)

    def holds(self, value: object, node: Node) -> bool:
        """Whether a value satisfies a search field."""
        operator = node.get("operator")
        kind = type_of(node).replace("CustomField", "Field")
        values = [item for item in node.iterchildren("*") if local(item).startswith("searchValue")]
        texts = [(item.text or "").strip() for item in values]
        predefined = text_of(node, "predefinedSearchValue")
        if operator is None:
            if len(texts) == 1 and texts[0] in ("true", "false", "1", "0"):
                return bool(value) == (texts[0] in ("true", "1"))
            if not texts and not predefined:
                return True
            raise StatusError(
                "INVALID_SEARCH_OPERATOR", f"The search field {local(node)} needs an operator."
            )
        if operator == "empty":
            return value in (None, "", [])
        if operator == "notEmpty":
            return value not in (None, "", [])
        if operator in ("anyOf", "noneOf"):
            wanted = {item.get("internalId") or item.get("externalId") or "" for item in values}
            wanted = (wanted | set(texts)) - {""}
            is_among = not _ids(value).isdisjoint(wanted)
            return is_among if operator == "anyOf" else not is_among
        if operator in _DATE_OPERATORS and (
            kind == "SearchDateField" or _looks_like_dates(texts, value) or predefined
        ):
            return self._date_holds(operator, value, texts, predefined)
        if operator in _STRING_OPERATORS and kind != "SearchLongField":
            return _string_holds(operator, value, texts)
        if operator in _NUMBER_OPERATORS:
            return _number_holds(operator, value, texts)
        raise StatusError("INVALID_SEARCH_OPERATOR", f"{operator} is no operator of {local(node)}.")

    def _date_holds(self, operator: str, value: object, texts: list[str], predefined: str) -> bool:
        moment = as_moment(value)
        if moment is None:
            return False
        if predefined:
            low, high = _span(predefined, self._now.astimezone(ACCOUNT_ZONE))
            first, last = low, high - timedelta(microseconds=1)
        else:
            if not texts or (operator.lower().endswith("within") and len(texts) < 2):
                raise StatusError("INVALID_DATE_RANGE", f"{operator} needs a date more.")
            first = last = parse_moment(texts[0])
            if operator.lower().endswith("within"):
                last = parse_moment(texts[1])
            elif operator in ("on", "notOn"):
                first, last = _day_of(first)
        return bool(_DATE_OPERATORS[operator](moment, first, last))


def kinds_of(subject: str, state: State) -> list[str]:
    """The record types that a search of that name looks through."""
    if subject == "Transaction":
        return [name for name in TRANSACTION_TYPES if name in state]
    if subject == "Item":
        return [name for name in ITEM_TYPES if name in state]
    return [subject] if subject in state else []


def value_of(kind: str, record: Record, name: str) -> object:
    """What a search field of that name sees in a record."""
    if name == "type":
        if kind in TRANSACTION_TYPES:
            return TRANSACTION_TYPES[kind]
        return ITEM_TYPES.get(kind, record.get("acctType", record.get("type")))
    if name == "recordType":
        return kind[:1].lower() + kind[1:]
    if name == "status" and kind in TRANSACTION_TYPES:
        words = str(record.get("status") or "").split()
        return TRANSACTION_TYPES[kind] + "".join(word[:1].upper() + word[1:] for word in words)
    if name == "posting":
        return True
    if name == "anyLevelParent":
        return record.get("parent")
    for alias in _ALIASES.get(name, (name,)):
        if record.get(alias) is not None:
            return record[alias]
    return record.get(name)


def _columns(columns: Node | None) -> tuple[str, ...]:
    basic = child(columns, "basic")
    return tuple(local(node) for node in basic.iterchildren("*")) if basic is not None else ()


def _ids(value: object) -> set[str]:
    values: Iterable[object] = value if isinstance(value, list) else [value]
    return {
        item.id if isinstance(item, Ref) else str(item) if item is not None else "@NONE@"
        for item in values
    }


_DATE_OPERATORS: Mapping[str, Callable[[datetime, datetime, datetime], bool]] = {
    "after": lambda value, _first, last: value > last,
    "before": lambda value, first, _last: value < first,
    "notAfter": lambda value, _first, last: value <= last,
    "notBefore": lambda value, first, _last: value >= first,
    "on": lambda value, first, last: first <= value <= last,
    "notOn": lambda value, first, last: not first <= value <= last,
    "onOrAfter": lambda value, first, _last: value >= first,
    "onOrBefore": lambda value, _first, last: value <= last,
    "notOnOrAfter": lambda value, first, _last: value < first,
    "notOnOrBefore": lambda value, _first, last: value > last,
    "within": lambda value, first, last: first <= value <= last,
    "notWithin": lambda value, first, last: not first <= value <= last,
}
_STRING_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "is": lambda value, wanted: value == wanted,
    "isNot": lambda value, wanted: value != wanted,
    "contains": lambda value, wanted: wanted in value,
    "doesNotContain": lambda value, wanted: wanted not in value,
    "startsWith": lambda value, wanted: value.startswith(wanted),
    "doesNotStartWith": lambda value, wanted: not value.startswith(wanted),
    "hasKeywords": lambda value, wanted: all(word in value for word in wanted.split()),
}
_NUMBER_OPERATORS: Mapping[str, Callable[[float, float, float], bool]] = {
    "equalTo": lambda value, first, _last: value == first,
    "notEqualTo": lambda value, first, _last: value != first,
    "greaterThan": lambda value, first, _last: value > first,
    "greaterThanOrEqualTo": lambda value, first, _last: value >= first,
    "lessThan": lambda value, first, _last: value < first,
    "lessThanOrEqualTo": lambda value, first, _last: value <= first,
    "notGreaterThan": lambda value, first, _last: value <= first,
    "notGreaterThanOrEqualTo": lambda value, first, _last: value < first,
    "notLessThan": lambda value, first, _last: value >= first,
    "notLessThanOrEqualTo": lambda value, first, _last: value > first,
    "between": lambda value, first, last: first <= value <= last,
    "notBetween": lambda value, first, last: not first <= value <= last,
}


def _looks_like_dates(texts: list[str], value: object) -> bool:
    return (
        isinstance(value, datetime) or as_moment(value) is not None or any("T" in t for t in texts)
    )


def _string_holds(operator: str, value: object, texts: list[str]) -> bool:
    seen = value.name if isinstance(value, Ref) else "" if value is None else str(value)
    wanted = texts[0] if texts else ""
    return _STRING_OPERATORS[operator](seen.casefold(), wanted.casefold())


def _number_holds(operator: str, value: object, texts: list[str]) -> bool:
    try:
        seen = float(str(value))
        wanted = [float(text) for text in texts]
    except ValueError:
        return operator.startswith("not")
    if not wanted:
        raise StatusError("SEARCH_INTEGER_REQD", f"{operator} needs a number.")
    return _NUMBER_OPERATORS[operator](seen, wanted[0], wanted[-1])


def _day_of(moment: datetime) -> tuple[datetime, datetime]:
    begin = moment.astimezone(ACCOUNT_ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    return begin, begin + timedelta(days=1, microseconds=-1)


def _span(name: str, now: datetime) -> tuple[datetime, datetime]:
    """The span of a predefined date, from its begin to before its end."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    month = today.replace(day=1)
    week = today - timedelta(days=(today.weekday() + 1) % 7)
    year = month.replace(month=1)
    last_month = (month - timedelta(days=1)).replace(day=1)
    next_month = (month + timedelta(days=32)).replace(day=1)
    day = timedelta(days=1)
    spans = {
        "today": (today, today + day),
        "yesterday": (today - day, today),
        "tomorrow": (today + day, today + 2 * day),
        "thisWeek": (week, week + 7 * day),
        "lastWeek": (week - 7 * day, week),
        "thisMonth": (month, next_month),
        "lastMonth": (last_month, month),
        "thisYear": (year, year.replace(year=year.year + 1)),
        "lastYear": (year.replace(year=year.year - 1), year),
        "thisMonthToDate": (month, now),
        "thisYearToDate": (year, now),
        "thisWeekToDate": (week, now),
    }
    if name not in spans:
        raise StatusError("INVALID_SEARCH_VALUE", f"The date {name} is not supported here.")
    return spans[name]
