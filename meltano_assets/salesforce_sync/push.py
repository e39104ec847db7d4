"""Sending a plan's changes: composite collections for few records, Bulk 2.0 jobs for many.

Belongs here: which interface carries what, in which order, what is tried again, and what an
error code of one record means. Does not belong here: the protocol and the retries of requests
(``clients/salesforce.py``), memory (``outcome``).

New records are written by **upsert on the external id**, so that a run that is repeated after a
time-out or a kill meets its own records instead of doubling them. Existing ones are updated by
Id and only in the fields that change: an upsert could revive a record deleted in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meltano_assets.salesforce_sync.plan import Change, Plan
from meltano_assets.salesforce_sync.results import Result, ResultState
from meltano_assets.salesforce_sync.values import ERASE, storable, to_wire

if TYPE_CHECKING:
    from meltano_assets.clients.salesforce import (
        BulkOperation,
        BulkResult,
        SalesforceClient,
        SaveError,
        SaveResult,
    )

COLLECTION_SIZE = 200

Sleep = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Sizes and patience. The defaults suit Salesforce; tests make them small."""

    bulk_threshold: int = 2_000
    bulk_job_rows: int = 25_000
    bulk_attempts: int = 3
    #: A record may be locked by others while its parent is being written: smaller and later.
    lock_chunks: tuple[int, ...] = (50, 10, 1)
    lock_wait_seconds: float = 1.0


#: What a record's error code means to us: reason class, and whether the next run should try the
#: same row again (``failed``) or wait for it to change (``parked``).
_MEANINGS: Mapping[str, tuple[str, ResultState]] = {
    "UNABLE_TO_LOCK_ROW": ("locked", "failed"),
    "SERVER_UNAVAILABLE": ("vendor_error", "failed"),
    "UNKNOWN_EXCEPTION": ("vendor_error", "failed"),
    "QUERY_TIMEOUT": ("vendor_error", "failed"),
    "REQUEST_RUNNING_TOO_LONG": ("vendor_error", "failed"),
    "STORAGE_LIMIT_EXCEEDED": ("vendor_limit", "failed"),
    "LIMIT_EXCEEDED": ("vendor_limit", "failed"),
    "ENTITY_IS_DELETED": ("record_deleted", "failed"),
    "INVALID_CROSS_REFERENCE_KEY": ("reference_not_found", "failed"),
    "DUPLICATES_DETECTED": ("duplicate", "parked"),
    "DUPLICATE_VALUE": ("duplicate", "parked"),
    "DUPLICATE_EXTERNAL_ID": ("duplicate", "parked"),
    "REQUIRED_FIELD_MISSING": ("required_field", "parked"),
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": ("validation_rule", "parked"),
    "FIELD_FILTER_VALIDATION_EXCEPTION": ("validation_rule", "parked"),
    "FIELD_INTEGRITY_EXCEPTION": ("validation_rule", "parked"),
    "STRING_TOO_LONG": ("too_long", "parked"),
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": ("picklist", "parked"),
    "NUMBER_OUTSIDE_VALID_RANGE": ("out_of_range", "parked"),
    "INVALID_EMAIL_ADDRESS": ("wrong_type", "parked"),
    "INVALID_TYPE_ON_FIELD_IN_RECORD": ("wrong_type", "parked"),
    "INVALID_FIELD_FOR_INSERT_UPDATE": ("not_permitted", "parked"),
    "INSUFFICIENT_ACCESS_OR_READONLY": ("not_permitted", "parked"),
    "INSUFFICIENT_ACCESS_ON_CROSS_REFERENCE_ENTITY": ("not_permitted", "parked"),
    "CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY": ("automation", "parked"),
    "CANNOT_EXECUTE_FLOW_TRIGGER": ("automation", "parked"),
    "DELETE_FAILED": ("not_deletable", "parked"),
}


def explain(errors: Sequence[SaveError]) -> tuple[str, ResultState, str]:
    """Reason class, what to do with the record, and the vendor's words."""
    if not errors:
        return "vendor_error", "failed", "refused without a reason"
    first = errors[0]
    reason, state = _MEANINGS.get(first.code, ("other", "parked"))
    # A trigger that met a lock says so only in its message.
    if "UNABLE_TO_LOCK_ROW" in first.message:
        reason, state = "locked", "failed"
    elif first.code == "INVALID_FIELD" and "oreign key external ID" in first.message:
        reason, state = "reference_not_found", "failed"
    fields = f" [{', '.join(first.fields)}]" if first.fields else ""
    return reason, state, storable(f"{first.code}: {first.message}{fields}")


def push_changes(
    client: SalesforceClient,
    plan: Plan,
    *,
    sleep: Sleep,
    options: PushOptions | None = None,
) -> Iterator[list[Result]]:
    """Send all changes; yields results as they become final, each change exactly once.

    What has been yielded is known to Salesforce; an error in between leaves the rest to the
    next run, which finds out by itself what arrived.
    """
    return _Pusher(client, plan, sleep, options or PushOptions()).push()


class _Pusher:
    def __init__(
        self, client: SalesforceClient, plan: Plan, sleep: Sleep, options: PushOptions
    ) -> None:
        self.client, self.plan, self.sleep, self.options = client, plan, sleep, options
        self.object, self.key_field = plan.spec.object, plan.spec.key_field
        self.describe = plan.description

    def push(self) -> Iterator[list[Result]]:
        for action in ("create", "update", "delete"):
            changes = [each for each in self.plan.changes if each.action == action]
            # One parent's records together: parallel batches would fight for its lock.
            changes.sort(key=lambda each: (each.parent, each.key))
            if len(changes) < self.options.bulk_threshold:
                yield from self._by_collections(changes, COLLECTION_SIZE)
                continue
            # A text that reads #N/A would erase the field in a job's file.
            plain = [each for each in changes if ERASE not in each.after.values()]
            odd = [each for each in changes if ERASE in each.after.values()]
            for part in _slices(plain, self.options.bulk_job_rows):
                yield from self._by_jobs(part)
            yield from self._by_collections(odd, COLLECTION_SIZE)

    # -- few records --

    def _by_collections(self, changes: Sequence[Change], size: int) -> Iterator[list[Result]]:
        locked: list[Change] = []
        for chunk in _slices(changes, size):
            final, again = self._without_locks(self._collection(chunk))
            locked += again
            if final:
                yield final
        yield from self._unlock(locked)

    def _unlock(self, locked: list[Change]) -> Iterator[list[Result]]:
        wait = self.options.lock_wait_seconds
        for size in self.options.lock_chunks:
            if not locked:
                return
            self.sleep(wait)
            wait *= 2
            pending, locked = locked, []
            for chunk in _slices(pending, size):
                final, again = self._without_locks(self._collection(chunk))
                locked += again
                if final:
                    yield final
        if locked:
            detail = "UNABLE_TO_LOCK_ROW: still locked after several tries"
            yield [Result(each, "failed", reason="locked", detail=detail) for each in locked]

    @staticmethod
    def _without_locks(results: Iterable[Result]) -> tuple[list[Result], list[Change]]:
        final, locked = [], []
        for result in results:
            if result.state == "failed" and result.reason == "locked":
                locked.append(result.change)
            else:
                final.append(result)
        return final, locked

    def _collection(self, changes: Sequence[Change]) -> list[Result]:
        action = changes[0].action
        if action == "delete":
            answers = self.client.delete_collection([each.record_id or "" for each in changes])
        else:
            records = [self._record(each) for each in changes]
            if action == "create":
                answers = self.client.upsert_collection(self.object, self.key_field, records)
            else:
                answers = self.client.update_collection(self.object, records)
        pairs = zip(changes, answers, strict=True)
        return [self._result(change, answer) for change, answer in pairs]

    def _record(self, change: Change) -> dict[str, object]:
        record: dict[str, object] = {
            name: to_wire(text, self.describe.find(name)) for name, text in change.after.items()
        }
        if change.action == "create":
            record[self.key_field] = to_wire(change.key, self.describe.find(self.key_field))
        else:
            record["Id"] = change.record_id
        return record

    @staticmethod
    def _result(change: Change, answer: SaveResult) -> Result:
        if answer.success:
            return Result(change, "sent", answer.id, is_created=answer.created)
        reason, state, detail = explain(answer.errors)
        return Result(change, state, None, reason=reason, detail=detail)

    # -- many records --

    def _by_jobs(self, changes: Sequence[Change]) -> Iterator[list[Result]]:
        """One job, and further ones for what it left unprocessed or met locked."""
        pending = list(changes)
        detail = ""
        for attempt in range(self.options.bulk_attempts):
            if attempt:
                self.sleep(self.options.lock_wait_seconds * 2**attempt)
            final, pending, error = self._job(pending)
            if final:
                yield final
            if not pending:
                return
            detail = error or detail
            if len(pending) <= COLLECTION_SIZE:
                yield from self._by_collections(pending, self.options.lock_chunks[0])
                return
        detail = storable(detail or "left unprocessed or locked by several jobs")
        yield [Result(each, "failed", reason="unprocessed", detail=detail) for each in pending]

    def _job(self, changes: Sequence[Change]) -> tuple[list[Result], list[Change], str | None]:
        action = changes[0].action
        operation: BulkOperation = "upsert" if action == "create" else action
        key_name = self.key_field if action == "create" else "Id"
        rows = [self._row(each, key_name) for each in changes]
        external_id = key_name if action == "create" else None
        answer = self.client.bulk_ingest(self.object, operation, rows, external_id)
        waiting = {str(row[key_name]): change for row, change in zip(rows, changes, strict=True)}
        final, locked = self._without_locks(self._job_results(answer, waiting))
        # What is in no list at all counts as unprocessed.
        return final, locked + list(waiting.values()), answer.error

    def _row(self, change: Change, key_name: str) -> dict[str, object]:
        key = change.key if change.action == "create" else change.record_id
        if change.action == "delete":
            return {key_name: key}
        return {key_name: key, **change.after}

    @staticmethod
    def _job_results(answer: BulkResult, waiting: dict[str, Change]) -> Iterator[Result]:
        for saved in answer.successful:
            if change := waiting.pop(saved.key, None):
                yield Result(change, "sent", saved.id, is_created=saved.created)
        for failed in answer.failed:
            if change := waiting.pop(failed.key, None):
                reason, state, detail = explain(failed.errors)
                yield Result(change, state, None, reason=reason, detail=detail)


def _slices(items: Sequence[Change], size: int) -> Iterator[Sequence[Change]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
