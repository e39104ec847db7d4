"""Columns of types that no stream declares: arrays, enums, domains, ranges, intervals and the like.

Their values are landed as text, lists and objects as JSON, and Postgres casts them: as it reads a constant,
so that nothing is cut to a length or rounded where the type does not say so. A record whose text is none
of the type is set aside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql

from meltano_assets.warehouse.records import Rejected
from meltano_assets.warehouse.refused import Refuse
from meltano_assets.warehouse.schema import OwnType

#: By category of the type, which texts are JSON: an array may also be written as ``[0:1]={a,b}``.
_IS_JSON = {
    "A": r"ltrim({given}, E' \t\n\r') like '[%' and"
    r" ({given} not like '%=%' or {given} !~ E'^\\s*(\\[[-+0-9:]*\\]\\s*)+=')",
    "C": r"ltrim({given}, E' \t\n\r') like '{{%'",
}

#: Classes of errors for which no value is at fault: what the server cannot do, or cannot do now.
_NOBODYS = ("08", "0A", "25", "40", "53", "55", "57", "58", "XX")

#: The function that looks at one text.
_FITS = """
create function pg_temp.{name}(given text) returns boolean language plpgsql as $look$
begin
    perform {value};
    return true;
exception when others then
    if left(sqlstate, 2) = any ({nobodys}) then raise; end if;
    return false;
end
$look$
"""


def cast_landed(
    connection: psycopg.Connection,
    landing: sql.Composable,
    own: Mapping[str, OwnType],
    known: Sequence[str],
    refuse: Refuse,
) -> int:
    """Give landed columns the table's own types; returns how many records ``refuse`` took.

    ``known`` are the columns that tell a record.
    """
    if not own:
        return 0
    casts = [
        _Cast(connection, number, column, kind) for number, (column, kind) in enumerate(own.items())
    ]
    reshape = sql.SQL("alter table {} {}").format(
        landing, sql.SQL(", ").join(one.step for one in casts)
    )
    refused = 0
    try:
        with connection.transaction():
            connection.execute(reshape)
    except psycopg.Error as error:
        if error.sqlstate is None or error.sqlstate[:2] in _NOBODYS:
            raise
        refused = _set_aside(connection, landing, casts, known, refuse)
        connection.execute(reshape)
    for one in casts:
        one.drop()
    return refused


def _set_aside(
    connection: psycopg.Connection,
    landing: sql.Composable,
    casts: Sequence[_Cast],
    known: Sequence[str],
    refuse: Refuse,
) -> int:
    """Take out the records with a text that is none of its column's type."""
    for one in casts:
        one.judge()
    parts = {
        "landing": landing,
        "unfit": sql.Identifier("pg_temp", "meltano_unfit"),
        "known": sql.SQL(", ").join(sql.Identifier("l", column) for column in known),
        "fits": sql.SQL(", ").join(
            sql.SQL("pg_temp.{}(l.{})").format(sql.Identifier(one.fits), sql.Identifier(one.column))
            for one in casts
        ),
    }
    connection.execute(
        sql.SQL(
            "create temp table meltano_unfit on commit drop as"
            " select j.place, (select row_to_json(r.*)::text from (select {known}) as r) as record,"
            " array_position(j.fits, false) - 1 as at_fault from ("
            "select l.ctid as place, array[{fits}] as fits from {landing} as l offset 0) as j"
            " join {landing} as l on l.ctid = j.place where false = any (j.fits)"
        ).format(**parts)
    )
    connection.execute(
        sql.SQL("delete from {landing} as l using {unfit} as u where l.ctid = u.place").format(
            **parts
        )
    )
    refused = 0
    with connection.cursor(name="meltano_unfit") as rows:
        rows.execute(sql.SQL("select record, at_fault from {unfit}").format(**parts))
        for record, place in rows:
            at_fault = casts[int(place)]
            refuse(Rejected(str(record), f"not a {at_fault.kind.name}", at_fault.column))
            refused += 1
    connection.execute(sql.SQL("drop table {unfit}").format(**parts))
    return refused


class _Cast:
    """How one column's text becomes a value of its own type."""

    def __init__(
        self, connection: psycopg.Connection, number: int, column: str, kind: OwnType
    ) -> None:
        self.column = column
        self.kind = kind
        self.fits = f"meltano_fits_{number}"
        self._connection = connection
        self._row = sql.Identifier("pg_temp", f"meltano_own_{number}")
        if not kind.is_plain:
            # A type's length and precision, to be obeyed and not cut to, are known to a row only.
            connection.execute(
                sql.SQL("create temp table {} (v {}) on commit drop").format(
                    sql.Identifier(f"meltano_own_{number}"), self._type
                )
            )

    @property
    def step(self) -> sql.Composable:
        """What an ``alter table`` does to the column."""
        column = sql.Identifier(self.column)
        return sql.SQL("alter column {} type {} using {}").format(
            column, self._type, self._value(column)
        )

    def judge(self) -> None:
        """Make the function that tells whether a text is one of the type."""
        self._connection.execute(
            sql.SQL(_FITS).format(
                name=sql.Identifier(self.fits),
                value=self._value(sql.Identifier("given")),
                nobodys=sql.Literal(list(_NOBODYS)),
            )
        )

    def drop(self) -> None:
        """Remove what only the cast needed."""
        self._connection.execute(
            sql.SQL("drop function if exists pg_temp.{}(text); drop table if exists {}").format(
                sql.Identifier(self.fits), self._row
            )
        )

    @property
    def _type(self) -> sql.SQL:
        return sql.SQL(self.kind.name)  # type: ignore[arg-type] # as Postgres writes it

    def _value(self, given: sql.Composable) -> sql.Composable:
        if self.kind.is_plain:
            return sql.SQL("{}::{}").format(given, self._type)
        json: sql.Composable = sql.SQL("to_jsonb({})").format(given)
        if condition := _IS_JSON.get(self.kind.category):
            json = sql.SQL(
                "case when " + condition + " then {given}::jsonb else {json} end"
            ).format(given=given, json=json)
        return sql.SQL("(jsonb_populate_record(null::{}, jsonb_build_object('v', {}))).v").format(
            self._row, json
        )
