"""Asynchronous requests of NetSuite's REST services: asked with ``Prefer: respond-async``, answered by a job.

A job has one task; its result is the answer that the request would have had. The work is done when it
is asked for; the first look at a job finds it under way.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from starlette.responses import Response

PATH = "/services/rest/async/v1/job"
_SINGULAR = "application/vnd.oracle.resource+json; type=singular"
_COLLECTION = "application/vnd.oracle.resource+json; type=collection"


@dataclass(slots=True)
class _Job:
    result: Response
    looks: int = 0

    @property
    def progress(self) -> str:
        if self.looks < 2:
            return "processing"
        return "succeeded" if self.result.status_code < 400 else "failed"


class RestJobs:
    """The jobs of the account."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._keys: dict[str, str] = {}

    def submit(self, base: str, key: str, work: Callable[[], Response]) -> Response:
        """202: the job that does the work; the one before for a key that was there before."""
        job_id = self._keys.get(key) if key else None
        if job_id is None:
            job_id = str(len(self._jobs) + 1)
            self._jobs[job_id] = _Job(work())
            if key:
                self._keys[key] = job_id
        headers = {"Location": f"{base}{PATH}/{job_id}", "Preference-Applied": "respond-async"}
        return Response(b"", 202, headers, media_type="application/json")

    def answer(self, base: str, path: str) -> Response | None:
        """A job, its task, or what came of it; None when there is no such thing."""
        found = re.fullmatch(rf"{PATH}/(\d{{1,12}})(/task(/1(/result)?)?)?", path)
        job = self._jobs.get(found[1]) if found else None
        if found is None or job is None:
            return None
        here, root = f"{base}{path}", f"{base}{PATH}/{found[1]}"
        if found[4]:
            return job.result if job.looks >= 2 else None
        links = [{"rel": "self", "href": here}]
        if found[2] and not found[3]:
            items = [{"links": [{"rel": "self", "href": f"{root}/task/1"}], "id": "1"}]
            told = {"links": links, "count": 1, "hasMore": False, "items": items, "offset": 0,
                    "totalResults": 1}  # fmt: skip
            return Response(orjson.dumps(told), media_type=_COLLECTION)
        if not found[2]:
            job.looks += 1
        state = {
            "links": links, "completed": job.looks >= 2, "id": "1" if found[2] else found[1],
            "progress": job.progress,
        }  # fmt: skip
        inner, place = ("result", "task/1/result") if found[2] else ("task", "task")
        state[inner] = {"links": [{"rel": "self", "href": f"{root}/{place}"}]}
        return Response(orjson.dumps(state), media_type=_SINGULAR)


def is_key(text: str) -> bool:
    """Whether a key of idempotency is a UUID."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True
