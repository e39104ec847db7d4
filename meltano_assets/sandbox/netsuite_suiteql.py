"""SuiteQL over the books: the account's tables in SQLite, and Oracle's words made SQLite's.

A table is a record type in small letters (``customer``), several of them together (``item``,
``entity``, ``transaction``) or their lines (``transactionline``, ``transactionaccountingline``).
Every value comes as text, dates as the account writes them (``6/23/2024``), nulls not at all.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from meltano_assets.sandbox.company_books import Ref, customs_of
from meltano_assets.sandbox.company_netsuite_records import TRANSACTIONS
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.netsuite_search import State
from meltano_assets.sandbox.netsuite_wire import ACCOUNT_ZONE

MAX_RESULTS = 100_000
_MAX_SECONDS = 10.0
_MAX_BYTES = 1 << 20
#: What begins a date inside the database, so that it is told from other text on its way out.
_DATE = "\x01"
_TYPES = {
    "Invoice": ("CustInvc", "Invoice"), "CustomerPayment": ("CustPymt", "Payment"),
    "CreditMemo": ("CustCred", "Credit Memo"), "VendorBill": ("VendBill", "Bill"),
    "VendorPayment": ("VendPymt", "Bill Payment"), "ExpenseReport": ("ExpRept", "Expense Report"),
    "JournalEntry": ("Journal", "Journal"),
}  # fmt: skip
_ITEMS = {
    "NonInventorySaleItem": ("NonInvtPart", "Non-inventory Item"),
    "ServiceSaleItem": ("Service", "Service"),
    "DiscountItem": ("Discount", "Discount"),
}
_ACCOUNTS = {
    "_bank": "Bank", "_accountsReceivable": "AcctRec", "_otherCurrentAsset": "OthCurrAsset",
    "_fixedAsset": "FixedAsset", "_accountsPayable": "AcctPay", "_deferredRevenue": "DeferRevenue",
    "_otherCurrentLiability": "OthCurrLiab", "_equity": "Equity", "_income": "Income",
    "_costOfGoodsSold": "COGS", "_expense": "Expense", "_otherIncome": "OthIncome",
    "_otherExpense": "OthExpense",
}  # fmt: skip
_STATUSES = {
    "Open": "A", "Paid In Full": "B", "Approved": "B", "Not Deposited": "B", "Deposited": "C",
    "Fully Applied": "B", "Approved by Accounting": "F",
}  # fmt: skip
_ENTITIES = {"Customer": "CustJob", "Vendor": "Vendor", "Employee": "Employee"}
#: Record field → column, where they differ.
_COLUMNS = {"internalId": "id", "acctName": "accountsearchdisplaynamecopy"}
#: The columns of a table without records.
_UNUSED = ("id", "externalid", "name", "lastmodifieddate")
_LINES = ("itemList", "expenseList", "lineList", "applyList")
_WORDS = re.compile(
    r"'(?:[^']|'')*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|[A-Za-z_][\w$]*|\d+(?:\.\d+)?|\s+|.", re.DOTALL
)
_FORMATS = (
    ("YYYY", "%Y"), ("MM", "%m"), ("DD", "%d"), ("HH24", "%H"), ("HH", "%I"), ("MI", "%M"),
    ("SS", "%S"), ("MONTH", "%B"), ("MON", "%b"), ("DAY", "%A"), ("DY", "%a"), ("YY", "%y"),
    ("AM", "%p"), ("PM", "%p"), ("D", "%w"),
)  # fmt: skip


class QueryError(Exception):
    """A query that cannot be answered; the message is for the client."""


class Tables:
    """The books of one moment as tables."""

    def __init__(self, state: State, now: datetime) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._names: dict[str, list[str]] = {}
        self._database.create_collation("nsdate", _compare_dates)
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_BYTES)
        for name, rows in _tables(state).items():
            self._create(name, rows)
        for name, arguments, function in self._functions():
            self._database.create_function(name, arguments, function, deterministic=True)
        self._database.execute("PRAGMA case_sensitive_like = ON")
        self._database.execute("PRAGMA query_only = ON")
        self._database.set_authorizer(_only_reads)

    def rows(self, query: str) -> list[dict[str, str]]:
        """What a query finds, each value as text; QueryError when it cannot be asked."""
        sql = _translated(query, self._shown())
        stop = time.monotonic() + _MAX_SECONDS
        with self._lock:
            self._database.set_progress_handler(lambda: int(time.monotonic() > stop), 10_000)
            try:
                cursor = self._database.execute(sql)
                found = cursor.fetchmany(MAX_RESULTS)
            except sqlite3.Error as error:
                raise QueryError(self._told(str(error))) from None
            except OverflowError:
                raise QueryError("Search error occurred: Invalid or unsupported search") from None
            titles = _titles([str(item[0]) for item in cursor.description or ()])
        return [
            {
                title: _text(value)
                for title, value in zip(titles, row, strict=True)
                if title is not None and value is not None
            }
            for row in found
        ]

    def _create(self, name: str, rows: list[dict[str, object]]) -> None:
        columns = dict.fromkeys(() if rows else _UNUSED, "")
        for row in rows:
            for column, value in row.items():
                if columns.get(column, "") == "":
                    columns[column] = _declared(column, value)
        self._names[name] = list(columns)
        declared = ", ".join(f'"{column}" {kind}' for column, kind in columns.items())
        self._database.execute(f'CREATE TABLE "{name}" ({declared})')
        marks = ", ".join("?" * len(columns))
        self._database.executemany(
            f'INSERT INTO "{name}" VALUES ({marks})',
            [[row.get(column) for column in columns] for row in rows],
        )

    def _shown(self) -> set[str]:
        """The columns that have a name to show beside their id."""
        return {
            column.removesuffix("$df")
            for columns in self._names.values()
            for column in columns
            if column.endswith("$df")
        }

    def _functions(self) -> Iterable[tuple[str, int, Callable[..., Any]]]:
        now = self._now.astimezone(ACCOUNT_ZONE)
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return (
            ("sysdate", 0, lambda: _stored(now)),
            ("ns_today", 0, lambda: _stored(today)),
            ("to_date", -1, _to_date),
            ("to_timestamp", -1, _to_date),
            ("to_char", -1, _to_char),
            ("to_number", -1, lambda text, *_: _number(text)),
            ("nvl", 2, lambda value, other: other if value in (None, "") else value),
            ("nvl2", 3, lambda value, yes, no: no if value in (None, "") else yes),
            ("decode", -1, _decode),
            ("ns_shift", 2, _shifted),
            ("add_months", 2, _add_months),
            ("last_day", 1, _last_day),
            ("trunc", -1, _trunc),
            ("initcap", 1, lambda text: None if text is None else str(text).title()),
            ("ns_shown", 1, lambda value: None if value is None else _text(value)),
        )

    def _told(self, error: str) -> str:
        if found := re.match(r"no such table: (?:main\.)?(.+)", error):
            return f"Search error occurred: Record '{found[1]}' was not found."
        if found := re.match(r"(?:no such|ambiguous) column(?: name)?: (.+)", error):
            return f"Search error occurred: Unknown identifier '{found[1].removesuffix('$df')}'."
        if found := re.match(r"no such function: (.+)", error):
            return f"Search error occurred: Invalid function '{found[1]}'."
        if "interrupted" in error:
            return "Search error occurred: The query ran for too long."
        return "Search error occurred: Invalid or unsupported search"


# The tables


def _tables(state: State) -> dict[str, list[dict[str, object]]]:
    tables: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("item", "entity", "transaction", "transactionline",
                              "transactionaccountingline", "contact", "location", "classification")
    }  # fmt: skip
    for kind, records in state.items():
        for record in records.values():
            row = _row(kind, record)
            if kind in _ITEMS:
                tables["item"].append(row)
            elif kind in TRANSACTIONS:
                tables["transaction"].append(row)
                _add_lines(tables, record)
            else:
                tables.setdefault(kind.lower(), []).append(row)
                if kind in _ENTITIES:
                    tables["entity"].append({**row, "type": _ENTITIES[kind]})
    return tables


def _row(kind: str, record: Record) -> dict[str, object]:
    row: dict[str, object] = {"id": _number(record["internalId"])}
    for name, value in record.items():
        if name not in ("internalId", "customFieldList", *_LINES) and not isinstance(
            value, Mapping
        ):
            _put(row, _COLUMNS.get(name, name.lower()), value)
    for field in customs_of(record):
        _put(row, field.script_id, field.value)
    if kind in TRANSACTIONS:
        row["type"], row["type$df"] = _TYPES[kind]
        row["abbrevtype"] = row["tranid"] and re.sub(r"\d+$", "", str(row["tranid"]))
        row["recordtype"] = kind.lower()
        status = str(record.get("status") or "")
        row["status"], row["status$df"] = (
            _STATUSES.get(status, "A"),
            f"{_TYPES[kind][1]} : {status}",
        )
        total = record.get("total", record.get("userTotal"))
        row["foreigntotal"] = total
        row["entity"] = row.get("entity", row.get("customer"))
        row["entity$df"] = row.get("entity$df", row.get("customer$df"))
        row["posting"], row["voided"] = "T", "F"
        row["trandisplayname"] = f"{_TYPES[kind][1]} #{record.get('tranId')}"
    elif kind in _ITEMS:
        row["itemtype"], row["itemtype$df"] = _ITEMS[kind]
        row["description"] = record.get("salesDescription")
    elif kind == "Account":
        row["accttype"] = _ACCOUNTS.get(str(record.get("acctType")), "Expense")
        row["fullname"] = record.get("acctName")
        row["accountsearchdisplayname"] = f"{record.get('acctNumber')} {record.get('acctName')}"
        row["displaynamewithhierarchy"] = record.get("acctName")
    elif kind in ("Subsidiary", "Department"):
        row["fullname"] = record.get("name")
    return row


def _put(row: dict[str, object], name: str, value: object) -> None:
    if isinstance(value, Ref):
        row[name], row[f"{name}$df"] = _number(value.id), value.name
    elif isinstance(value, bool):
        row[name] = "T" if value else "F"
    elif isinstance(value, date):
        row[name] = _stored(value)
    elif isinstance(value, list):
        refs = [item for item in value if isinstance(item, Ref)]
        row[name.removesuffix("list")] = ", ".join(ref.id for ref in refs) or None
        row[f"{name.removesuffix('list')}$df"] = ", ".join(ref.name for ref in refs) or None
    elif isinstance(value, int | float) or value is None:
        row[name] = value
    else:
        row[name] = str(value).removeprefix("_") if str(value).startswith("_") else str(value)


def _add_lines(tables: dict[str, list[dict[str, object]]], record: Record) -> None:
    """The main line of a transaction and those of its lists, with what they post."""
    key = _number(record["internalId"])
    total = float(str(record.get("total", record.get("userTotal")) or 0))
    is_sale = "itemList" in record
    main: Record = {"memo": record.get("memo"), "account": record.get("account"),
                    "department": record.get("department")}  # fmt: skip
    lines: list[tuple[Record, float, str]] = []
    if "lineList" not in record:
        lines.append((main, total if is_sale else -total, "T"))
    for name in _LINES:
        listed = record.get(name)
        for line in listed if isinstance(listed, list) else ():
            debit, credit = line.get("debit"), line.get("credit")
            amount = float(str(line.get("amount") or 0))
            if name == "lineList":
                amount = float(str(debit or 0)) - float(str(credit or 0))
            elif name == "itemList":
                amount = -amount
            elif name == "applyList":
                continue
            lines.append((line, amount, "F"))
    for place, (line, amount, is_main) in enumerate(lines):
        row: dict[str, object] = {"transaction": key, "id": place, "linesequencenumber": place,
                                  "mainline": is_main, "taxline": "F"}  # fmt: skip
        for name in ("item", "department", "memo", "quantity", "rate", "account", "category"):
            _put(row, {"account": "expenseaccount"}.get(name, name), line.get(name))
        for name in ("entity", "subsidiary"):
            _put(row, name, record.get(name))
        row["netamount"] = row["foreignamount"] = round(amount, 2)
        tables["transactionline"].append(row)
        posted: dict[str, object] = {"transaction": key, "transactionline": place, "posting": "T",
                                     "accountingbook": 1, "amount": round(amount, 2),
                                     "debit": round(amount, 2) if amount > 0 else None,
                                     "credit": round(-amount, 2) if amount < 0 else None}  # fmt: skip
        _put(posted, "account", line.get("account") or record.get("account"))
        tables["transactionaccountingline"].append(posted)


def _declared(column: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_DATE):
        return "TEXT COLLATE nsdate"
    return "NUMERIC" if isinstance(value, int | float) else "TEXT"


# Values


def _stored(moment: date) -> str:
    if not isinstance(moment, datetime):
        return f"{_DATE}{moment.isoformat()} 00:00:00"
    return f"{_DATE}{moment.astimezone(ACCOUNT_ZONE):%Y-%m-%d %H:%M:%S}"


def _moment(value: object) -> datetime | None:
    text = str(value).removeprefix(_DATE)
    for pattern in ("%Y-%m-%d %H:%M:%S", "%m/%d/%Y", "%Y-%m-%d", "%m/%d/%Y %H:%M:%S"):
        try:
            return datetime.strptime(text, pattern)  # noqa: DTZ007 (the account's zone)
        except ValueError:
            continue
    return None


def _compare_dates(left: str, right: str) -> int:
    one, other = _moment(left), _moment(right)
    if one is None or other is None:
        return (left > right) - (left < right)
    return (one > other) - (one < other)


def _text(value: object) -> str:
    if isinstance(value, str) and value.startswith(_DATE):
        moment = _moment(value)
        return f"{moment.month}/{moment.day}/{moment.year}" if moment else value
    if isinstance(value, float):
        if abs(value) >= 1e15:
            return repr(value)
        return f"{round(value, 8) + 0.0:.8f}".rstrip("0").rstrip(".")
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: object) -> int | float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**62 else number


def _pattern(text: str) -> str:
    found = re.compile("|".join(name for name, _ in _FORMATS), re.IGNORECASE)
    return found.sub(lambda part: dict(_FORMATS)[part[0].upper()], text.replace("%", "%%"))


def _to_date(text: object, pattern: object = "MM/DD/YYYY", *_: object) -> str | None:
    if text is None:
        return None
    if str(text).startswith(_DATE):
        return str(text)
    try:
        moment = datetime.strptime(str(text), _pattern(str(pattern)))  # noqa: DTZ007
    except ValueError:
        moment = None  # type: ignore[assignment]
    found = moment or _moment(text)
    return None if found is None else f"{_DATE}{found:%Y-%m-%d %H:%M:%S}"


def _to_char(value: object, pattern: object = None, *_: object) -> str | None:
    if value is None:
        return None
    moment = _moment(value) if str(value).startswith(_DATE) else None
    if moment is None or pattern is None:
        return _text(value)
    if str(pattern).upper() == "Q":
        return str((moment.month + 2) // 3)
    return moment.strftime(_pattern(str(pattern)))


def _decode(value: object, *pairs: object) -> object:
    for place in range(0, len(pairs) - 1, 2):
        if pairs[place] == value or str(pairs[place]) == str(value):
            return pairs[place + 1]
    return pairs[-1] if len(pairs) % 2 else None


def _shifted(value: object, days: object) -> object:
    if not str(value).startswith(_DATE):
        return (_number(value) or 0) + (_number(days) or 0)
    moment, count = _moment(value), _number(days)
    if moment is None or count is None or abs(count) > 1_000_000:
        return None
    try:
        return f"{_DATE}{moment + timedelta(days=count):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return None


def _add_months(value: object, months: object) -> str | None:
    moment, count = _moment(value), _number(months)
    if moment is None or count is None or abs(count) > 12_000:
        return None
    year, month = divmod(moment.year * 12 + moment.month - 1 + int(count), 12)
    if not 1 <= year < 9999:
        return None
    following = datetime(year + month // 11, (month + 1) % 12 + 1, 1)  # noqa: DTZ001
    last = (following - timedelta(days=1)).day
    day = moment.replace(year=year, month=month + 1, day=min(moment.day, last))
    return f"{_DATE}{day:%Y-%m-%d %H:%M:%S}"


def _last_day(value: object) -> str | None:
    moment = _moment(value)
    if moment is None:
        return None
    following = moment.replace(day=28) + timedelta(days=4)
    return f"{_DATE}{following - timedelta(days=following.day):%Y-%m-%d %H:%M:%S}"


def _trunc(value: object, unit: object = "DD") -> object:
    if not str(value).startswith(_DATE):
        number = _number(value)
        return None if number is None else int(number)
    moment = _moment(value)
    if moment is None:
        return None
    day = moment.replace(hour=0, minute=0, second=0)
    if str(unit).upper() in ("MM", "MON", "MONTH"):
        day = day.replace(day=1)
    elif str(unit).upper() in ("YYYY", "YEAR", "YY"):
        day = day.replace(month=1, day=1)
    elif str(unit).upper() == "Q":
        day = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return f"{_DATE}{day:%Y-%m-%d %H:%M:%S}"


# The language


def _only_reads(action: int, table: str | None, *_: object) -> int:
    if table is not None and table.startswith("sqlite_"):
        return sqlite3.SQLITE_DENY
    allowed = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION)
    return sqlite3.SQLITE_OK if action in allowed else sqlite3.SQLITE_DENY


def _titles(names: list[str]) -> list[str | None]:
    """Small letters, ``exprN`` for what has no name, None for what ``*`` must not show."""
    titles: list[str | None] = []
    unnamed = 0
    for name in names:
        if name.endswith("$df"):
            titles.append(None)
        elif re.fullmatch(r"[\w ]+", name) and not name[:1].isdigit():
            titles.append(name.lower())
        else:
            unnamed += 1
            titles.append(f"expr{unnamed}")
    return titles


def _translated(query: str, shown: set[str]) -> str:
    """A query in SQLite's words; QueryError when it is no query."""
    words = [w for w in _WORDS.findall(query) if not w.startswith(("--", "/*"))]
    text = "".join(words).strip().rstrip(";").strip()
    if not re.match(r"(select|with)\b|\(", text, re.IGNORECASE):
        raise QueryError("Search error occurred: Invalid or unsupported search")
    literals: list[str] = []

    def kept(found: re.Match[str]) -> str:
        literals.append(found[0])
        return f"\x02{len(literals) - 1}\x02"

    text = re.sub(r"'(?:[^']|'')*'", kept, text)
    if re.search(r"\blimit\s+\d|\x00", text, re.IGNORECASE):
        raise QueryError("Search error occurred: Invalid or unsupported search")
    for pattern, replacement in _DIALECT:
        text = re.sub(pattern, replacement, text, flags=re.IGNORECASE)
    text = re.sub(
        r"\bBUILTIN\s*\.\s*DF\s*\(\s*((?:\w+\s*\.\s*)?)(\w+)\s*\)",
        lambda m: f'ns_shown({m[1]}"{m[2].lower()}$df")' if m[2].lower() in shown
        else f"ns_shown({m[1]}{m[2]})",
        text, flags=re.IGNORECASE,
    )  # fmt: skip
    text = re.sub(
        r"\bBUILTIN\s*\.\s*\w+\s*\(\s*([^(),]+)[^()]*\)", r"(\1)", text, flags=re.IGNORECASE
    )
    text = _rows_limited(text)
    return re.sub("\x02(\\d+)\x02", lambda found: literals[int(found[1])], text)


_DIALECT = (
    (r"\bMINUS\b", "EXCEPT"),
    (r'(?<!")\btransaction\b(?!")', '"transaction"'),
    (r"\bSYSDATE\b(?!\s*\()", "sysdate()"),
    (r"\bCURRENT_DATE\b", "ns_today()"),
    (r"\b(?:LISTAGG)\s*\(([^()]*)\)\s*WITHIN\s+GROUP\s*\([^()]*\)", r"group_concat(\1)"),
    (r"\bSUBSTRB?\b", "substr"),
    (r"((?:sysdate|ns_today|to_date|add_months|trunc)\((?:[^()]|\([^()]*\))*\))\s*([-+])\s*(\d+)",
     r"ns_shift(\1, \g<2>\3)"),
    (r"\s+FROM\s+DUAL\b", ""),
)  # fmt: skip


def _rows_limited(text: str) -> str:
    """``FETCH FIRST``, ``TOP`` and ``ROWNUM`` as SQLite's LIMIT."""
    offset = ""
    if found := re.search(r"\bOFFSET\s+(\d+)\s+ROWS?\b", text, re.IGNORECASE):
        offset = f" OFFSET {found[1]}"
        text = text.replace(found[0], "")
    fetch = re.compile(r"\bFETCH\s+(?:FIRST|NEXT)\s+(\d+)\s+ROWS?\s+ONLY\b", re.IGNORECASE)
    if found := fetch.search(text):
        return f"{fetch.sub('', text)} LIMIT {found[1]}{offset}"
    top = re.compile(r"^(\s*SELECT\s+(?:DISTINCT\s+)?)TOP\s+(\d+)\s", re.IGNORECASE)
    if found := top.match(text):
        return top.sub(r"\1", text) + f" LIMIT {found[2]}"
    rownum = re.compile(r"\bROWNUM\s*(<=|<|=)\s*(\d{1,9})\b", re.IGNORECASE)
    if found := rownum.search(text):
        most = int(found[2]) - (found[1] == "<")
        return f"{rownum.sub('1 = 1', text)} LIMIT {max(most, 0)}"
    return f"{text} LIMIT -1{offset}" if offset else text
