"""SOQL's literals in stored form: their types, date functions and the spans of date literals.

Weeks begin on Sunday and fiscal years are calendar years, as in an org with default settings.
"""

from __future__ import annotations

import sqlite3
from datetime import date, timedelta

from meltano_assets.sandbox import soql, sosl
from meltano_assets.sandbox.salesforce_schema import ID_KINDS, NUMBER_KINDS, Field, parse_id
from meltano_assets.sandbox.salesforce_values import format_datetime, parse_datetime
from meltano_assets.sandbox.soql import SoqlError, error_at

DATE_SQL = {
    "calendar_year": "CAST(substr({0}, 1, 4) AS INTEGER)",
    "calendar_quarter": "((CAST(substr({0}, 6, 2) AS INTEGER) + 2) / 3)",
    "calendar_month": "CAST(substr({0}, 6, 2) AS INTEGER)",
    "day_in_month": "CAST(substr({0}, 9, 2) AS INTEGER)",
    "day_in_week": "(CAST(strftime('%w', substr({0}, 1, 10)) AS INTEGER) + 1)",
    "day_in_year": "CAST(strftime('%j', substr({0}, 1, 10)) AS INTEGER)",
    "day_only": "substr({0}, 1, 10)",
    "hour_in_day": "CAST(substr({0}, 12, 2) AS INTEGER)",
    "week_in_year": "((CAST(strftime('%j', substr({0}, 1, 10)) AS INTEGER) - 1) / 7 + 1)",
}


def _add_months(day: date, months: int) -> date:
    index = day.year * 12 + day.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def date_range(word: str, count: int, today: date) -> tuple[date, date]:
    """First day, and first day after, of a date literal."""
    fixed = {"last_90_days": ("last_n_days", 90), "next_90_days": ("next_n_days", 90)}
    word, count = fixed.get(word, (word, count))
    word = word.replace("_fiscal", "")
    one = timedelta(days=1)
    try:
        if word in ("today", "yesterday", "tomorrow"):
            start = today + one * {"yesterday": -1, "today": 0, "tomorrow": 1}[word]
            return start, start + one
        if word == "last_n_days":
            return today - one * count, today + one
        if word == "next_n_days":
            return today + one, today + one * (count + 1)
        if word == "n_days_ago":
            return today - one * count, today - one * (count - 1)
        unit = word.rstrip("s").removesuffix("_ago").rstrip("s").rsplit("_", 1)[1]
        if unit == "week":
            # Weeks begin on Sunday in the default locale.
            week = today - one * ((today.weekday() + 1) % 7)

            def step(n: int) -> date:
                return week + timedelta(weeks=n)

        else:
            months = {"month": 1, "quarter": 3, "year": 12}[unit]
            base = date(today.year, (today.month - 1) // months * months + 1, 1)

            def step(n: int) -> date:
                return _add_months(base, n * months)

        if "_n_" in word:
            if word.startswith("last"):
                return step(-count), step(0)
            return step(1), step(count + 1)
        if word.startswith("n_"):
            return step(-count), step(-count + 1)
        shift = {"last": -1, "this": 0, "next": 1}[word.split("_", 1)[0]]
        return step(shift), step(shift + 1)
    except (OverflowError, ValueError) as error:
        raise SoqlError("INVALID_FIELD", f"date literal out of range: {word}:{count}") from error


def stored_literal(text: str, found: Field, value: soql.Value) -> str | int | float | None:
    """The stored form of a literal; refuses one of another type. ``text`` is the query."""
    if value.kind == "null":
        return None
    kind = found.kind
    if kind in ID_KINDS:
        if value.kind != "string":
            raise wrong_type(text, found, value, "string", quoted=True)
        identifier = soql.unescape(value.text)
        if not identifier:
            return None
        stored = parse_id(identifier)
        if stored is None:
            raise error_at(
                "INVALID_QUERY_FILTER_OPERATOR",
                text,
                value.position,
                f"invalid ID field: {identifier}",
            )
        return stored
    if kind == "boolean":
        if value.kind != "boolean":
            raise wrong_type(text, found, value, "boolean", quoted=False)
        return int(value.text == "true")
    if kind in NUMBER_KINDS or kind == "int":
        if value.kind != "number":
            raise wrong_type(text, found, value, "int" if kind == "int" else "double", quoted=False)
        return float(value.text)
    if kind == "date":
        if value.kind != "date":
            raise wrong_type(text, found, value, "date", quoted=False)
        return _checked_date(text, value)
    if kind == "datetime":
        moment = parse_datetime(value.text) if value.kind == "datetime" else None
        if moment is None:
            raise wrong_type(text, found, value, "dateTime", quoted=False)
        return format_datetime(moment)
    if value.kind != "string":
        raise wrong_type(text, found, value, "string", quoted=True)
    # Salesforce keeps no empty strings: '' is null.
    return soql.unescape(value.text) or None


def _checked_date(text: str, value: soql.Value) -> str:
    try:
        return date.fromisoformat(value.text).isoformat()
    except ValueError as error:
        raise error_at(
            "MALFORMED_QUERY", text, value.position, f"invalid date: {value.text}"
        ) from error


def wrong_type(
    text: str, found: Field, value: soql.Value, type_name: str, *, quoted: bool
) -> SoqlError:
    """The refusal of a literal whose type does not fit the field."""
    return error_at(
        "INVALID_FIELD",
        text,
        value.position,
        f"value of filter criterion for field '{found.name}' must be of type {type_name} "
        f"and should {'' if quoted else 'not '}be enclosed in quotes",
    )


def folded(column: str, stored: str | int | float) -> tuple[str, str | int | float]:
    """A comparison's two sides: SQLite ignores case in ASCII only, a function folds the rest."""
    if isinstance(stored, str) and not stored.isascii():
        return f"soql_fold({column})", stored.casefold()
    return column, stored


def add_functions(connection: sqlite3.Connection) -> None:
    """What compiled queries need on their connection."""
    connection.create_function(
        "soql_fold",
        1,
        lambda value: value.casefold() if isinstance(value, str) else value,
        deterministic=True,
    )
    connection.create_function("sosl_stands_in", 2, sosl.stands_in, deterministic=True)
