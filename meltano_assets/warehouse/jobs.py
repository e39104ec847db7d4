"""The job log: long jobs at vendors, remembered so that a restart takes them up.

Belongs here: ``meltano.job_log``. Does not belong here: ordering and awaiting
(``clients/jobs.py``, whose ``JobStore`` this is).
"""

from __future__ import annotations

import json
import threading

from meltano_assets.streams import JobKey, VendorJob
from meltano_assets.warehouse.books import ensure
from meltano_assets.warehouse.connection import Warehouse

_NOTE = """
insert into meltano.job_log
    (source, stream, job_id, kind, fingerprint, state, request, progress, run_id, ordered_at)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (source, stream, job_id) do update set
    state = excluded.state, progress = excluded.progress, run_id = excluded.run_id,
    updated_at = clock_timestamp()
"""
_FIND = """
select job_id, state, progress, ordered_at from meltano.job_log
where source = %s and stream = %s and kind = %s and fingerprint = %s
    and state in ('ordered', 'ready', 'read')
order by id desc limit 1
"""
_APPLICATION = "meltano-assets jobs"


class JobLog:
    """The warehouse's memory of vendor jobs, for one run; every note is committed at once."""

    def __init__(self, warehouse: Warehouse, *, run_id: str = "") -> None:
        self._warehouse = warehouse
        self._run_id = run_id
        self._read: set[tuple[str, str, str]] = set()
        self._lock = threading.Lock()

    def find(self, key: JobKey) -> VendorJob | None:
        """The newest open job that was ordered for this, by whatever process, if any."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            ensure(connection)
            row = connection.execute(
                _FIND, [key.source, key.stream, key.kind, key.fingerprint]
            ).fetchone()
        if row is None:
            return None
        job_id, state, details, ordered_at = row
        return VendorJob(job_id, state, details or {}, ordered_at)

    def note(self, key: JobKey, job: VendorJob) -> None:
        """Remember the job as it now is."""
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            ensure(connection)
            connection.execute(
                _NOTE,
                [
                    key.source,
                    key.stream,
                    job.id,
                    key.kind,
                    key.fingerprint,
                    job.state,
                    json.dumps(key.request, default=str),
                    json.dumps(job.details, default=str),
                    self._run_id,
                    job.ordered_at,
                ],
            )
        with self._lock:
            if job.state == "read":
                self._read.add((key.source, key.stream, job.id))

    def settle(self) -> None:
        """Close the jobs whose records this run has read: call it when they are committed."""
        with self._lock:
            read, self._read = sorted(self._read), set()
        if not read:
            return
        with self._warehouse.connect(application_name=_APPLICATION) as connection:
            connection.cursor().executemany(
                "update meltano.job_log set state = 'finished', updated_at = clock_timestamp()"
                " where source = %s and stream = %s and job_id = %s and state = 'read'",
                read,
            )
