"""The data of a bulk ingest job: CSV in, records saved, result rows out.

Cells follow the vendor's page "Prepare CSV Files": an empty cell leaves the field alone, ``#N/A``
empties it, ``Account__r.Meltano_Id__c`` finds a parent by its external id. A file that cannot be
read fails the job; a cell that cannot be read fails its record.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence

from meltano_assets.sandbox.salesforce_drafts import Draft, add_parent
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import Field, SObject
from meltano_assets.sandbox.salesforce_values import (
    ApiProblem,
    RecordProblem,
    SqlValue,
    csv_reader,
)
from meltano_assets.sandbox.salesforce_writes import Outcome, Writer

#: Records in one transaction of ours; the vendor cuts a job into batches of 10,000.
STEP = 2000
BATCH = 10_000
_NULL = "#N/A"

Setter = Callable[[Draft, str], None]


class JobFailed(Exception):
    """The job as a whole cannot go on; the text is its ``errorMessage``."""


def raw_rows(body: bytes, delimiter: str) -> Iterator[list[str]]:
    """Header and records of an upload; blank lines are no records."""
    csv.field_size_limit(sys.maxsize)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise JobFailed("InvalidBatch : Failed to parse CSV: the data is not UTF-8") from error
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if row:
                yield row
    except csv.Error as error:
        raise JobFailed(f"InvalidBatch : Failed to parse CSV: {error}") from error


class Upload:
    """The uploaded CSV of a job, ready to be saved chunk by chunk."""

    def __init__(
        self,
        org: SalesforceOrg,
        body: bytes,
        object_name: str,
        operation: str,
        external_id: str,
        delimiter: str,
        line_ending: str,
    ) -> None:
        self.org = org
        self.operation = operation
        self._rows = raw_rows(body, delimiter)
        end = body.find(b"\n")
        actual = "CRLF" if end > 0 and body[end - 1 : end] == b"\r" else "LF"
        if end >= 0 and actual != line_ending:
            raise JobFailed(
                "ClientInputError : LineEnding is invalid on user data. Current LineEnding "
                f"setting is {line_ending}"
            )
        sobject = org.user_schema.find(object_name)
        if sobject is None:
            raise JobFailed(f"InvalidJob : Unable to find object: {object_name}")
        self.sobject: SObject = sobject
        self.external: Field | None = sobject.find(external_id) if external_id else None
        self.header: list[str] = next(self._rows, [])
        if not self.header:
            raise JobFailed("InvalidBatch : The uploaded data is empty")
        self._setters = [self._setter(name, i) for i, name in enumerate(self.header)]
        if len({name.lower() for name in self.header}) < len(self.header):
            raise JobFailed("InvalidBatch : Duplicate field name in the header")

    def _setter(self, name: str, column: int) -> Setter:
        found = self.sobject.find(name)
        if found is not None and found.kind == "id":

            def set_id(draft: Draft, cell: str) -> None:
                draft.record_id = cell or None

            return set_id
        if found is not None and not found.is_compound:
            return _field_setter(found, csv_reader(found, column))
        # ``Owner:User.Username`` names the kind of a polymorphic parent.
        relationship, _, key_name = name.partition(".")
        relationship, _, kind = relationship.partition(":")
        ref = self.sobject.by_relationship(relationship) if key_name else None
        schema = self.org.user_schema
        target = None
        if ref is not None:
            default = "User" if "User" in ref.refers_to else ref.refers_to[0]
            target = schema.find(kind or default)
        key = target.find(key_name) if target else None
        if ref is None or target is None or key is None:
            raise JobFailed(f"InvalidBatch : Field name not found : {name}")
        parent, parent_key, reference = target, key, ref

        def set_parent(draft: Draft, cell: str) -> None:
            if cell:
                add_parent(draft, reference, parent, parent_key, None if cell == _NULL else cell)

        return set_parent

    def chunks(self, *, skip: int, limit: int | None) -> Iterator[list[list[str]]]:
        """Records after the first ``skip``, up to the ``limit``-th, in transactions' portions."""
        chunk: list[list[str]] = []
        for number, row in enumerate(self._rows):
            if limit is not None and number >= limit:
                break
            if number < skip:
                continue
            chunk.append(row)
            if len(chunk) >= STEP:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    def save_drafts(
        self, connection: sqlite3.Connection, rows: Sequence[list[str]]
    ) -> tuple[list[Draft], list[Outcome]]:
        """Saves records; answers what was read of each row and what became of it."""
        drafts = [self._draft(row) for row in rows]
        writer = Writer(self.org, connection, self.sobject)
        return drafts, writer.save(self.operation, drafts, self.external)  # type: ignore[arg-type]

    def save(
        self, connection: sqlite3.Connection, rows: Sequence[list[str]]
    ) -> tuple[list[list[str]], list[list[str]]]:
        """Saves records; answers the rows of the successful and of the failed results."""
        drafts, outcomes = self.save_drafts(connection, rows)
        good: list[list[str]] = []
        bad: list[list[str]] = []
        for row, draft, outcome in zip(rows, drafts, outcomes, strict=True):
            if outcome.problems:
                bad.append([draft.record_id or "", outcome.problems[0].for_bulk(), *row])
            else:
                created = "true" if outcome.created else "false"
                good.append([outcome.record_id or "", created, *row])
        return good, bad

    def _draft(self, row: list[str]) -> Draft:
        draft = Draft()
        if len(row) != len(self.header):
            draft.problems.append(
                ApiProblem(
                    "INVALID_FIELD",
                    f"The row has {len(row)} columns, the header has {len(self.header)}",
                )
            )
            return draft
        for cell, setter in zip(row, self._setters, strict=True):
            if cell:
                setter(draft, cell)
        external = self.external
        if external is not None:
            value = draft.record_id if external.kind == "id" else draft.values.get(external.name)
            draft.key = None if value is None else str(value)
        return draft


def _field_setter(found: Field, read: Callable[[str], SqlValue]) -> Setter:
    name = found.name
    is_boolean = found.kind == "boolean"

    def set_field(draft: Draft, cell: str) -> None:
        if cell == _NULL and not is_boolean:
            draft.values[name] = None
            return
        try:
            draft.values[name] = read(cell)
        except RecordProblem as error:
            draft.problems.append(error.problem)

    return set_field
