"""Planning: what a sync would change, record by record and field by field. Pure.

Rows of the model, the records that Salesforce has now, the describe call and the ledger go in; a
``Plan`` comes out. Comparison is done column by column in Arrow; only rows that change or are
refused become Python objects, so that a hundred thousand unchanged records cost seconds.

Every row is accounted for: rows = created + updated + unchanged + parked.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from meltano_assets.errors import FatalError
from meltano_assets.salesforce_sync.plan import Change, LedgerEntry, Parked, Plan
from meltano_assets.salesforce_sync.spec import Policy, Reference, SyncSpec
from meltano_assets.salesforce_sync.values import (
    Field,
    ObjectDescription,
    Reject,
    canonical_column,
    comparable,
    refuse,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Mask = np.ndarray[Any, np.dtype[np.bool_]]
    Places = np.ndarray[Any, np.dtype[np.int_]]

ID, MODIFIED = "Id", "LastModifiedDate"

#: How much of the model is compared at a time; at least so many rows.
_WINDOW_BYTES, _WINDOW_ROWS = 16 << 20, 2_000

#: Given a reference and external ids, those of them that exist (or will, in this run).
ParentLookup = Callable[[Reference, Collection[str]], Collection[str]]


def no_parents(reference: Reference, wanted: Collection[str]) -> Collection[str]:
    """The lookup for syncs without references."""
    return ()


def selected_fields(spec: SyncSpec, describe: ObjectDescription) -> tuple[str, ...]:
    """The SOQL select list that planning needs, each name once, ``Id`` first."""
    names = [ID, describe.field(spec.key_field).name]
    names += [describe.field(rule.field).name for rule in spec.fields]
    for reference in spec.references:
        names += [lookup_field(reference, describe).name, reference.path]
    if spec.changed_at:
        names.append(MODIFIED)
    return tuple(dict.fromkeys(names))


def plan(
    spec: SyncSpec,
    rows: pa.Table,
    current: pa.Table,
    describe: ObjectDescription,
    ledger: Mapping[str, LedgerEntry],
    *,
    run_id: str,
    now: datetime,
    parents: ParentLookup = no_parents,
    retry: bool = False,
) -> Plan:
    """Compare the model's rows with Salesforce's records (``selected_fields``, canonical text).

    ``retry`` sends also what Salesforce refused or a revert undid, though its row is the same.
    """
    planner = _Planner(spec, rows, current, describe, ledger=ledger, parents=parents, retry=retry)
    return planner.plan(run_id, now)


def _picked(column: pa.ChunkedArray, at: Places) -> pa.Array:
    """The values at these places, null at -1; chunk by chunk, since Arrow would join them first."""
    import numpy as np
    import pyarrow as pa

    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    holder = np.searchsorted(starts, at, side="right") - 1
    parts, order = [pa.nulls(1, column.type)], np.zeros(len(at), np.int64)
    filled = 1
    for number in np.unique(holder[at >= 0]):
        rows = np.flatnonzero(holder == number)
        parts.append(column.chunk(int(number)).take(pa.array(at[rows] - starts[number])))
        order[rows] = np.arange(filled, filled + len(rows))
        filled += len(rows)
    return pa.concat_arrays(parts).take(pa.array(order))


def lookup_field(reference: Reference, describe: ObjectDescription) -> Field:
    found = (
        describe.field(reference.field)
        if reference.field
        else describe.lookup(reference.relationship)
    )
    if found is None:
        raise FatalError(
            f"{describe.name} has no relationship {reference.relationship}",
            source="salesforce",
            hint="`meltano-assets sync check` lists what the org needs",
        )
    return found


@dataclass(slots=True)
class _Target:
    """One value that may be sent: wanted and current texts, and where they ask to be sent."""

    name: str
    about: Field
    policy: Policy
    erase: bool
    wanted: pa.Array
    have: pa.Array
    holder: pa.Array
    rejects: dict[int, Reject]
    reference: Reference | None = None
    asks: Mask = field(init=False)


class _Planner:
    """The working state of one ``plan`` call: which row meets which record.

    What rows and records say is compared in windows of some megabytes: both tables may be large,
    and nothing beside them is.
    """

    def __init__(
        self,
        spec: SyncSpec,
        rows: pa.Table,
        current: pa.Table,
        describe: ObjectDescription,
        *,
        ledger: Mapping[str, LedgerEntry],
        parents: ParentLookup,
        retry: bool,
    ) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        missing = [name for name in spec.columns if name not in rows.column_names]
        if missing:
            raise FatalError(f"model {spec.relation} has no column {', '.join(missing)}")
        self.spec, self.describe, self.ledger, self.parents = spec, describe, ledger, parents
        self.retry = retry
        self.rows, self.current = rows, current
        self.key_field = describe.field(spec.key_field)
        keys, _ = canonical_column(rows.column(spec.key_column), self.key_field)
        ours, theirs = self._folded(keys), self._folded(current.column(self.key_field.name))
        if theirs.null_count == len(theirs):
            found = pa.nulls(len(ours), pa.int32())
        else:
            found = pc.index_in(ours, value_set=theirs, skip_nulls=True)
        #: The place of each row's record; -1 where there is none.
        self.at: Places = np.asarray(pc.fill_null(found, -1))
        self.keys: list[str | None] = keys.to_pylist()
        self.rejects: dict[int, Reject] = {}
        self._reject_keys(ours, theirs)

    def plan(self, run_id: str, now: datetime) -> Plan:
        changes: list[Change] = []
        parked: list[Parked] = []
        for start, size in self._windows():
            window = _Window(self, start, size)
            window.compare()
            changes += window.changes
            parked += window.parked
        changes, orphans = self._with_parents(changes)
        parked += orphans
        open_keys = {change.key for change in changes} | {each.key for each in parked}
        resolved = tuple(
            key
            for key, entry in self.ledger.items()
            if entry.state in {"parked", "failed"} and key not in open_keys
        )
        return Plan(
            spec=self.spec,
            run_id=run_id,
            planned_at=now,
            description=self.describe,
            rows=len(self.keys),
            changes=tuple(changes),
            parked=tuple(parked),
            unchanged=len(self.keys) - len(changes) - len(parked),
            resolved=resolved,
        )

    def _windows(self) -> Iterator[tuple[int, int]]:
        """Where each window of rows starts, and how many it has."""
        total = self.rows.num_rows
        size = max(_WINDOW_ROWS, _WINDOW_BYTES * total // max(self.rows.nbytes, 1))
        for start in range(0, total, size):
            yield start, min(size, total - start)

    def _folded(self, column: pa.ChunkedArray | pa.Array) -> pa.Array:
        """Keys as Salesforce tells them apart: external ids ignore case unless told otherwise."""
        import pyarrow as pa
        import pyarrow.compute as pc

        array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        array = array.cast(pa.large_string())
        ignores_case = self.key_field.is_text and not self.key_field.is_case_sensitive
        return pc.utf8_lower(array) if ignores_case else array

    def _reject_keys(self, ours: pa.Array, theirs: pa.Array) -> None:
        column, folded = self.spec.key_column, ours.to_pylist()
        counts = Counter(key for key in folded if key is not None)
        twice = {key for key, count in counts.items() if count > 1}
        in_org = Counter(key for key in theirs.to_pylist() if key is not None)
        ambiguous = {key for key, count in in_org.items() if count > 1}
        is_new = (self.at < 0).tolist()
        for row, key in enumerate(folded):
            if key is None:
                self.rejects[row] = Reject("missing_key", f"{column} is empty")
            elif key in twice:
                self.rejects[row] = Reject("duplicate_key", f"several rows have this {column}")
            elif key in ambiguous:
                text = f"several records have this {self.key_field.name}"
                self.rejects[row] = Reject("ambiguous_match", text, self.key_field.name)
            elif is_new[row]:
                if self.spec.operation == "update":
                    text = f"{self.spec.object} has no record with this {self.key_field.name}"
                    self.rejects[row] = Reject("record_not_found", text)
                elif reject := refuse(self.keys[row] or "", self.key_field):
                    self.rejects[row] = reject

    def _with_parents(self, changes: Sequence[Change]) -> tuple[list[Change], list[Parked]]:
        """The changes whose parents exist, and the other ones parked; one question a reference."""
        orphans: dict[int, Reject] = {}
        for reference in self.spec.references:
            path = reference.path
            named = {
                place: text
                for place, change in enumerate(changes)
                if (text := change.after.get(path)) is not None
            }
            if not named:
                continue
            known = {each.lower() for each in self.parents(reference, set(named.values()))}
            reject = Reject(
                "reference_not_found", f"{path} names a parent that does not exist", path
            )
            for place, text in named.items():
                if text.lower() not in known:
                    orphans.setdefault(place, reject)
        parked = [
            Parked(changes[place].key, changes[place].record_id, changes[place].row_hash, reject)
            for place, reject in sorted(orphans.items())
        ]
        if not orphans:
            return list(changes), parked
        return [each for place, each in enumerate(changes) if place not in orphans], parked


class _Window:
    """Some consecutive rows beside their records; rows are counted from the window's first."""

    def __init__(self, planner: _Planner, start: int, size: int) -> None:
        self.spec, self.describe = planner.spec, planner.describe
        self.ledger, self.retry = planner.ledger, planner.retry
        self.key_field, self.current = planner.key_field, planner.current
        self.rows = planner.rows.slice(start, size)
        self.at = planner.at[start : start + size]
        self.exists: Mask = self.at >= 0
        self.keys = planner.keys[start : start + size]
        self.ids: list[str | None] = self._now(ID).to_pylist()
        places = range(start, start + size) if planner.rejects else ()
        self.rejects = {
            place - start: planner.rejects[place] for place in places if place in planner.rejects
        }
        self.changes: list[Change] = []
        self.parked: list[Parked] = []

    def compare(self) -> None:
        """Fill ``changes`` and ``parked``; all other rows are unchanged."""
        targets = self._targets()
        self._reference_targets(targets)
        for target in targets:
            target.asks = self._asks(target)
        active = self._active_rows(targets)
        if not active and not self.rejects:
            return
        self._refuse(targets, active)
        self._split(targets, active, self._hashes(targets, [*active, *self.rejects]))

    def _now(self, name: str) -> pa.Array:
        """A current column, brought to the rows' order; null where no record exists."""
        import pyarrow as pa

        if name not in self.current.column_names:
            raise FatalError(f"the current records lack {name}", source="salesforce")
        return _picked(self.current.column(name), self.at).cast(pa.large_string())

    def _targets(self) -> list[_Target]:
        targets = []
        for rule in self.spec.fields:
            about = self.describe.field(rule.field)
            wanted, rejects = canonical_column(self.rows.column(rule.column), about)
            have = self._now(about.name)
            targets.append(
                _Target(
                    name=about.name,
                    about=about,
                    policy=rule.policy,
                    # A checkbox cannot be empty.
                    erase=rule.erase and about.type != "boolean",
                    wanted=wanted,
                    have=have,
                    holder=have,
                    rejects=rejects,
                )
            )
        return targets

    def _reference_targets(self, targets: list[_Target]) -> None:
        """Parents by external id, where the row does not name the parent's own id."""
        import pyarrow as pa
        import pyarrow.compute as pc

        plain = {target.name: target for target in targets}
        for reference in self.spec.references:
            lookup = lookup_field(reference, self.describe)
            text = Field(name=reference.path, type="string")
            wanted, _ = canonical_column(self.rows.column(reference.column), text)
            if known := plain.get(lookup.name):
                nothing = pa.scalar(None, pa.large_string())
                wanted = pc.if_else(known.wanted.is_valid(), nothing, wanted)
            targets.append(
                _Target(
                    name=reference.path,
                    about=lookup,
                    policy=reference.policy,
                    erase=False,
                    wanted=wanted,
                    have=self._now(reference.path),
                    holder=self._now(lookup.name),
                    rejects={},
                    reference=reference,
                )
            )

    def _asks(self, target: _Target) -> Mask:
        """The rows in which the field's policy wants this value to be sent."""
        import numpy as np

        given: Mask = np.array(target.wanted.is_valid())
        if target.rejects:
            given[list(target.rejects)] = True
        asks: Mask = ~self.exists & given
        if target.policy == "never":
            asks[:] = False
        if target.policy in {"never", "create_only"} or self.spec.operation == "create":
            return asks
        is_empty: Mask = np.array(target.holder.is_null())
        if target.policy == "fill_if_empty":
            asks |= self.exists & given & is_empty
            return asks
        speaks = given | ~is_empty if target.erase else given
        changes: Mask = self.exists & speaks & self._differs(target)
        if target.policy == "newest":
            changes &= is_empty | self._is_newer(target)
        asks |= changes
        return asks

    def _differs(self, target: _Target) -> Mask:
        import numpy as np
        import pyarrow.compute as pc

        other = pc.fill_null(pc.not_equal(target.wanted, target.have), True)
        both_null = pc.and_(target.wanted.is_null(), target.have.is_null())
        differs: Mask = np.array(pc.and_(other, pc.invert(both_null)))
        if target.rejects:
            differs[list(target.rejects)] = True
        if target.about.type == "url" or target.reference:
            fold = str.lower if target.reference else lambda text: comparable(text, target.about)
            for row in np.flatnonzero(differs & self.exists):
                ours, theirs = target.wanted[row].as_py(), target.have[row].as_py()
                if ours is not None and theirs is not None and fold(ours) == fold(theirs):
                    differs[row] = False
        return differs

    def _is_newer(self, target: _Target) -> Mask:
        """Rows changed after the record was, or whose record still holds what we sent last."""
        import numpy as np
        import pyarrow.compute as pc

        moment = Field(name=self.spec.changed_at or "", type="datetime")
        row_at, _ = canonical_column(self.rows.column(moment.name), moment)
        newer: Mask = np.array(pc.fill_null(pc.greater(row_at, self._now(MODIFIED)), False))
        for row in np.flatnonzero(self.exists & ~newer):
            entry = self.ledger.get(self.keys[row] or "")
            if entry and target.name in entry.sent:
                newer[row] = entry.sent[target.name] == target.have[row].as_py()
        return newer

    def _active_rows(self, targets: Sequence[_Target]) -> list[int]:
        """Rows to be created or changed, as far as keys are sound."""
        import numpy as np

        changes: Mask = np.zeros(len(self.keys), bool)
        for target in targets:
            changes |= target.asks
        if self.spec.operation != "update":
            changes |= ~self.exists
        return [int(row) for row in np.flatnonzero(changes) if int(row) not in self.rejects]

    def _refuse(self, targets: Sequence[_Target], active: Sequence[int]) -> None:
        """Check every value that would be sent; the first reason found parks the whole record."""
        import numpy as np

        is_active: Mask = np.zeros(len(self.keys), bool)
        is_active[list(active)] = True
        self._refuse_by_object(active)
        for target in targets:
            rows = [int(row) for row in np.flatnonzero(target.asks & is_active)]
            if not rows:
                continue
            seen: dict[str, Reject | None] = {}
            values = target.wanted.to_pylist()
            for row in rows:
                reject = target.rejects.get(row) or self._not_permitted(target.about, row)
                text = values[row]
                if reject is None and text is not None and not target.reference:
                    if text not in seen:
                        seen[text] = refuse(text, target.about)
                    reject = seen[text]
                if reject:
                    self.rejects.setdefault(row, reject)
        self._refuse_incomplete(targets, active)

    def _not_permitted(self, about: Field, row: int) -> Reject | None:
        allowed = about.is_updateable if self.exists[row] else about.is_createable
        if allowed:
            return None
        verb = "change" if self.exists[row] else "set"
        detail = f"the integration user may not {verb} {about.name}"
        return Reject("not_permitted", detail, about.name)

    def _refuse_by_object(self, active: Sequence[int]) -> None:
        for row in active:
            if self.exists[row]:
                allowed, verb = self.describe.is_updateable, "change"
            else:
                allowed, verb = self.describe.is_createable, "create"
            if not allowed:
                detail = f"the integration user may not {verb} {self.describe.name} records"
                self.rejects.setdefault(row, Reject("not_permitted", detail))

    def _refuse_incomplete(self, targets: Sequence[_Target], active: Sequence[int]) -> None:
        news = [row for row in active if not self.exists[row]]
        if not news:
            return
        given: dict[str, list[Mask]] = {}
        for target in targets:
            given.setdefault(target.about.name, []).append(target.asks)
        for about in self.describe.fields.values():
            is_optional = about.is_nillable or about.is_defaulted or about.type == "boolean"
            if is_optional or not about.is_createable or about.name == self.key_field.name:
                continue
            masks = given.get(about.name, [])
            for row in news:
                if not any(mask[row] for mask in masks):
                    detail = f"{about.name} is required and the row has none"
                    self.rejects.setdefault(row, Reject("required_field", detail, about.name))

    def _hashes(self, targets: Sequence[_Target], rows: Sequence[int]) -> dict[int, str]:
        """What the row says, in one word, for the rows that need it."""
        if not rows:
            return {}
        columns = [target.wanted.to_pylist() for target in targets]
        start = hashlib.md5(self.spec.digest.encode(), usedforsecurity=False)
        hashes = {}
        for row in rows:
            digest = start.copy()
            for column in columns:
                text = column[row]
                # The lengths keep ("ab", "c") apart from ("a", "bc").
                digest.update(b"-" if text is None else f"{len(text)}:{text}".encode())
            hashes[row] = digest.hexdigest()
        return hashes

    def _split(
        self, targets: Sequence[_Target], active: Sequence[int], hashes: Mapping[int, str]
    ) -> None:
        for row, reject in sorted(self.rejects.items()):
            key = self.keys[row] or ""
            self.parked.append(Parked(key, self.ids[row], hashes[row], reject))
        going = []
        for row in active:
            if row in self.rejects:
                continue
            key = self.keys[row] or ""
            entry = self.ledger.get(key)
            if entry and not self.retry and entry.holds(hashes[row]):
                reject = Reject(entry.reason or entry.state, entry.detail)
                self.parked.append(Parked(key, self.ids[row], hashes[row], reject, is_held=True))
            else:
                going.append(row)
        before: dict[int, dict[str, str | None]] = {row: {} for row in going}
        after: dict[int, dict[str, str | None]] = {row: {} for row in going}
        parent = self._parent_column(targets)
        for target in targets if going else ():
            asks = target.asks.tolist()
            wanted, have = target.wanted.to_pylist(), target.have.to_pylist()
            holder = target.holder.to_pylist()
            for row in going:
                if asks[row]:
                    before[row][target.name] = have[row]
                    # A parent may have no external id: only the lookup itself can restore it.
                    before[row][target.about.name] = holder[row]
                    after[row][target.name] = wanted[row]
        self.changes = [
            Change(
                key=self.keys[row] or "",
                record_id=self.ids[row],
                before=before[row],
                after=after[row],
                row_hash=hashes[row],
                action="update" if self.exists[row] else "create",
                parent=parent[row] if parent else "",
            )
            for row in going
        ]

    def _parent_column(self, targets: Sequence[_Target]) -> list[str] | None:
        """Per row the first parent that it names or has."""
        parents: list[str] | None = None
        for target in targets:
            if target.about.type != "reference" or target.about.name == "OwnerId":
                continue
            columns = zip(target.wanted.to_pylist(), target.holder.to_pylist(), strict=True)
            named = [wanted or held or "" for wanted, held in columns]
            if parents is None:
                parents = named
            else:
                parents = [first or second for first, second in zip(parents, named, strict=True)]
        return parents
