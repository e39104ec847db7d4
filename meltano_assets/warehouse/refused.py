"""Records that the table itself refuses: by a constraint, a trigger or a partition that people gave it.

Such a record is set aside like any other that cannot be stored. Which ones they are is found by halving: a
statement that fails is taken back and done again with each half of the rows, in the order in which they
were read; what belongs together stays so as long as there is anything else to part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from meltano_assets.errors import FatalError
from meltano_assets.warehouse import connection as connections
from meltano_assets.warehouse.quarantine import REFUSED
from meltano_assets.warehouse.records import Rejected

#: What a record can be at fault for: its values, a constraint, what a trigger says.
_FAULTS = (errors.IntegrityError, errors.DataError, errors.RaiseException)

_PART = sql.Identifier("pg_temp", "meltano_part")

T = TypeVar("T")

Refuse = Callable[[Rejected], None]


def brought_in(
    connection: psycopg.Connection,
    rows: sql.Composable,
    bring_in: Callable[[sql.Composable], T],
    columns: Sequence[str],
    refuse: Refuse,
    together: Sequence[str] = (),
) -> list[T]:
    """What ``bring_in`` returned for the rows of a table, or for the parts of it that could be brought in.

    Rows that are equal in the columns ``together`` are brought in as one part. ``refuse`` takes the
    others, ``columns`` being what is known of them; it may raise. Where the table refuses all of them, no
    record is at fault, and the first error leaves.
    """

    def bring(part: sql.Composable) -> T:
        result = bring_in(part)
        # What the table looks at when the transaction ends, while its rows can still be told apart.
        connection.execute("set constraints all immediate")
        return result

    try:
        with connection.transaction():
            return [bring(rows)]
    except _FAULTS as error:
        first = error
    places, begins = _places(connection, rows, together)
    results: list[T] = []

    def try_part(start: int, end: int) -> psycopg.Error | None:
        """Bring in some of the rows; what was wrong with them, while they are still to be seen."""
        connection.execute("drop table if exists pg_temp.meltano_part")
        connection.execute(
            sql.SQL(
                "create temp table meltano_part on commit drop as"
                " select r.* from {} as r where ctid = any (%s::tid[]) order by ctid"
            ).format(rows),
            [places[start:end]],
        )
        try:
            with connection.transaction():
                results.append(bring(_PART))
        except _FAULTS as error:
            return error
        return None

    # More than one row at once was just refused.
    spans = _halves(begins, 0, len(places)) if len(places) > 1 else [(0, len(places))]
    orphans: list[int] = []
    while spans:
        start, end = spans.pop()
        fault = try_part(start, end) if start < end else None
        if fault is None:
            continue
        if end - start > 1:
            spans += _halves(begins, start, end)
        elif isinstance(fault, errors.ForeignKeyViolation) and not together:
            # What it refers to may be a later one of these rows.
            orphans.append(start)
        else:
            refuse(_rejected(connection, columns, fault))
    while orphans:
        left = [place for place in orphans if try_part(place, place + 1) is not None]
        if len(left) == len(orphans):
            break
        orphans = left
    for place in orphans:
        if (fault := try_part(place, place + 1)) is not None:
            refuse(_rejected(connection, columns, fault))
    connection.execute("drop table if exists pg_temp.meltano_part")
    if not results:
        raise first
    return results


def may_keep_rows_out(connection: psycopg.Connection, oid: int) -> bool:
    """True when a trigger or a rule of the table, or of one of its partitions, may drop rows unseen."""
    row = connection.execute(
        "select exists (select from pg_trigger where not tgisinternal and tgenabled <> 'D'"
        # What comes before each row may return nothing.
        " and tgtype & 3 = 3 and (tgrelid = %(oid)s"
        " or tgrelid in (select relid from pg_partition_tree(%(oid)s))))"
        " or exists (select from pg_rewrite where ev_class = %(oid)s and ev_enabled <> 'D')",
        {"oid": oid},
    ).fetchone()
    return row is not None and bool(row[0])


def kept_out(table: object, taken: int) -> FatalError:
    """The error for rows that the table has not, although it did not complain."""
    return FatalError(
        f"{table} took {taken} of the new rows only; a trigger or rule keeps the others out",
        hint="remove it, or load into another table",
    )


def _places(
    connection: psycopg.Connection, rows: sql.Composable, together: Sequence[str]
) -> tuple[list[str], list[bool]]:
    """Where each row lies, in the order of reading, and whether something new begins with it."""
    first = sql.SQL("min(ctid) over (partition by {})").format(
        sql.SQL(", ").join(map(sql.Identifier, together))
    )
    found = connection.execute(
        sql.SQL(
            "select ctid::text as place, ctid = {first} from {rows} order by {first}, ctid"
        ).format(first=first if together else sql.SQL("ctid"), rows=rows)
    ).fetchall()
    return [place for place, _ in found], [begins for _, begins in found]


def _halves(begins: Sequence[bool], start: int, end: int) -> list[tuple[int, int]]:
    """The second and the first half of a span, cut nearest to its middle where something new begins."""
    middle = (start + end) // 2
    for distance in range(max(middle - start, end - middle)):
        for place in (middle - distance, middle + distance):
            if start < place < end and begins[place]:
                return [(place, end), (start, place)]
    return [(middle, end), (start, middle)]


def _rejected(
    connection: psycopg.Connection, columns: Sequence[str], error: psycopg.Error
) -> Rejected:
    row = connection.execute(
        sql.SQL("select row_to_json(r.*)::text from (select {} from {}) as r").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)), _PART
        )
    ).fetchone()
    assert row is not None
    why = connections.platform_error(error).message.removeprefix("warehouse: ")
    return Rejected(str(row[0]), f"{REFUSED}: {why}", error.diag.column_name)
