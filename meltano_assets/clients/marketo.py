"""Marketo's protocol: identity, answers that say "200" and mean no, and bulk extracts.

Belongs here: what the vendor's wire needs. Does not belong here: streams and windows
(``sources/marketo.py``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, NoReturn, TypeVar

from meltano_assets.clients.http import HttpClient, json_object, oauth_token
from meltano_assets.clients.jobs import Poll, Progress
from meltano_assets.clients.policy import (
    Action,
    ErrorTable,
    RateBudget,
    Response,
    Transport,
    json_detail,
)
from meltano_assets.errors import (
    CredentialsError,
    FatalError,
    QuotaError,
    RetriableError,
    SkippableError,
)
from meltano_assets.streams import VendorJob

T = TypeVar("T")

SOURCE = "marketo"
#: What a subscription allows all of its clients together.
CALLS, PER_SECONDS = 100, 20.0
#: The vendor renews a job's status once a minute; small jobs are ready sooner.
POLL = Poll(first_seconds=0.1, growth=2.0, max_seconds=60.0)
#: A file's download is taken up where it broke off, unless nothing comes so many times in a row.
_MAX_EMPTY_TRIES = 4
#: So much of an answer is read that is no file.
_ERROR_CHUNKS = 4

_REFUSED = re.compile(rb'"success"\s*:\s*false')
_QUEUE_FULL, _EXPORT_QUOTA, _NO_FILTER, _LOST_PAGE = (
    "queue full",
    "export quota",
    "1035",
    "lost page",
)

_ACTIONS: Mapping[str | int, Action] = {
    "600": "refresh",
    "601": "refresh",
    "602": "refresh",
    "606": "throttle",
    "615": "throttle",
    "502": "retry",
    "604": "retry",
    "608": "retry",
    "611": "retry",
    "713": "retry",
    "607": "quota",
    _EXPORT_QUOTA: "quota",
    _QUEUE_FULL: "skip",
    _LOST_PAGE: "later",
    "610": "gone",
    "702": "gone",
    "1013": "gone",
}


class UnsupportedFilterError(FatalError):
    """The subscription does not offer that filter for exports."""


def _detail(response: Response) -> tuple[str, str]:
    """The first error of an answer without success; 1029 and 1003 are told apart by their message."""
    if not _REFUSED.search(response.body):
        return "", ""
    try:
        body = response.json()
    except ValueError:
        return "", ""
    errors = body.get("errors") if isinstance(body, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else {}
    code = str(first.get("code") or "no code") if isinstance(first, dict) else "no code"
    message = str(first.get("message") or "") if isinstance(first, dict) else ""
    if code == "1029":
        code = _EXPORT_QUOTA if "quota" in message.lower() else _QUEUE_FULL
    if code == "1003" and "nextPageToken" in message:
        code = _LOST_PAGE
    return code, message


_WAITS: Mapping[str | int, float] = {"606": 3.0, "615": 1.0}
ERRORS = ErrorTable(_detail, _ACTIONS, in_success=True, waits=_WAITS)

_oauth_detail = json_detail("error", "error_description")


def _login_detail(response: Response) -> tuple[str, str]:
    """A login's error: in the form of OAuth, or as Marketo writes it everywhere else."""
    return _detail(response) if _REFUSED.search(response.body) else _oauth_detail(response)


#: Nothing is skipped or gone where a token is asked for.
_LOGIN_ACTIONS: Mapping[str | int, Action] = {
    401: "fatal",
    **{
        code: do for code, do in _ACTIONS.items() if do in {"refresh", "throttle", "retry", "quota"}
    },
}
_LOGIN_ERRORS = ErrorTable(_login_detail, _LOGIN_ACTIONS, in_success=True, waits=_WAITS)


class MarketoClient:
    """One subscription; every request goes through ``http``."""

    def __init__(
        self,
        settings: Mapping[str, str],
        *,
        calls: int = CALLS,
        transport: Transport | None = None,
        hint: str | None = None,
    ) -> None:
        # The vendor's own pages show the address with one of these behind it.
        base = re.sub(r"/(?:rest|identity|bulk)?/?$", "", settings["base_url"])
        secrets = (settings["client_secret"],)
        self._identity = HttpClient(
            base,
            source=SOURCE,
            errors=_LOGIN_ERRORS,
            transport=transport,
            secrets=secrets,
            hint=hint,
        )
        form = {
            "grant_type": "client_credentials",
            "client_id": settings["client_id"],
            "client_secret": settings["client_secret"],
        }
        self.http = HttpClient(
            base,
            source=SOURCE,
            # In the body: an address with the secret in it would stand in logs on the way.
            auth=oauth_token(self._identity, "/identity/oauth/token", form),
            errors=ERRORS,
            budget=RateBudget(requests=calls, per_seconds=PER_SECONDS),
            transport=transport,
            secrets=secrets,
            hint=hint,
        )

    def __enter__(self) -> MarketoClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._identity.close()
        self.http.close()

    @property
    def requests(self) -> int:
        """Requests sent so far, logins included."""
        return self._identity.requests + self.http.requests

    def results(
        self, path: str, params: Mapping[str, str | int] | None = None
    ) -> list[Mapping[str, object]]:
        """The objects of an answer's ``result``."""
        return _results(self.http.get_json(path, params))


def _results(answer: Mapping[str, object]) -> list[Mapping[str, object]]:
    result = answer.get("result")
    return [item for item in result if isinstance(item, dict)] if isinstance(result, list) else []


@dataclass(slots=True)
class Export(Generic[T]):
    """A bulk extract as ``run_job`` drives it. ``parse`` makes of a file's bytes what it yields.

    The last piece of a file is handed on when its size and checksum have proved right, so a file
    that was cut or damaged is not taken for whole.
    """

    http: HttpClient
    kind: str
    fields: Sequence[str]
    filters: Mapping[str, object]
    parse: Callable[[Iterator[bytes]], Iterator[T]]

    def order(self) -> str:
        """Create the job; it waits to be enqueued."""
        order = {"format": "CSV", "fields": list(self.fields), "filter": self.filters}
        try:
            job = self._post("create.json", order)
        except FatalError as error:
            if f"({_NO_FILTER}" in error.message:
                raise UnsupportedFilterError(error.message, source=SOURCE) from None
            raise
        return str(job["exportId"])

    def start(self, job: VendorJob) -> Mapping[str, object]:
        """Enqueue a created job; where the queue is full it stays created."""
        try:
            return self._post(f"{job.id}/enqueue.json")
        except SkippableError:
            return {"status": "Created"}

    def check(self, job: VendorJob) -> Progress:
        """Ask for the job's status once; a created one is enqueued."""
        answer = self._answer(self.http.get_json(self._path(f"{job.id}/status.json")))
        if answer.get("status") == "Created":
            answer = self.start(job)
        status = str(answer.get("status"))
        if status == "Completed":
            return Progress(status, "ready", answer)
        is_over = status in {"Failed", "Cancelled", "Canceled"}
        reason = self.http.redact(str(answer.get("errorMsg") or "")) if is_over else ""
        return Progress(status, "failed" if is_over else "running", answer, reason)

    def read(self, job: VendorJob, progress: Progress) -> Iterator[T]:
        """The pieces of the file; GoneError when the vendor has thrown it away."""
        digest = hashlib.sha256()
        size = 0
        most = progress.answer.get("fileSize")

        def noted() -> Iterator[bytes]:
            nonlocal size
            for chunk in self._file(job):
                digest.update(chunk)
                size += len(chunk)
                if isinstance(most, int) and size > most:
                    # However well it is packed: what is larger than told is not read to its end.
                    self._verify(job, progress.answer, size, "")
                yield chunk

        held: T | None = None
        for piece in self.parse(noted()):
            if held is not None:
                yield held
            held = piece
        self._verify(job, progress.answer, size, digest.hexdigest())
        if held is not None:
            yield held

    def _verify(
        self, job: VendorJob, answer: Mapping[str, object], size: int, checksum: str
    ) -> None:
        told = str(answer.get("fileChecksum") or "").removeprefix("sha256:").lower()
        if (told and told != checksum) or answer.get("fileSize") not in (None, size):
            raise RetriableError(
                f"the file of export {job.id} is cut off or damaged: {size} bytes came, the"
                f" vendor told of {answer.get('fileSize')}",
                source=SOURCE,
                hint="run it again: the same file is fetched anew",
            )

    def _file(self, job: VendorJob) -> Iterator[bytes]:
        """The file's bytes; a download that breaks off goes on where it was."""
        path = self._path(f"{job.id}/file.json")
        clock = self.http.transport.clock
        place = 0
        empty_tries = refusals = 0
        while True:
            began = place
            headers = {"Range": f"bytes={place}-", "Accept-Encoding": "identity"} if place else None
            with self.http.download(path, headers=headers) as (told, chunks):
                try:
                    if "csv" not in told.get("Content-Type", "csv").lower():
                        refusals += 1
                        body = b"".join(islice(chunks, _ERROR_CHUNKS))
                        self._refused(body, is_first=refusals == 1)
                    skip = place if place and "Content-Range" not in told else 0
                    for chunk in chunks:
                        rest = chunk[skip:]
                        skip = max(0, skip - len(chunk))
                        place += len(rest)
                        if rest:
                            yield rest
                    return
                except RetriableError:
                    empty_tries = empty_tries + 1 if place == began else 0
                    if empty_tries >= _MAX_EMPTY_TRIES:
                        raise
            clock.sleep(min(30.0, 0.2 * 3.0**empty_tries))

    def _refused(self, body: bytes, *, is_first: bool) -> NoReturn:
        """Raise what an answer in the file's place means; after a token's end only forget it."""
        verdict = ERRORS.judge(Response(200, {}, body))
        action, code, message = verdict or ("retry", "", "no file but another answer")
        said = f"{code}: {message[:200]}" if code else message
        words = self.http.redact(f"instead of the file came an error ({said})")
        if action == "refresh" and self.http.auth is not None:
            if not is_first:
                words = f"the credentials were refused: {words}"
                raise CredentialsError(words, source=SOURCE, hint=self.http.hint)
            self.http.auth.renew()
        if action == "quota":
            raise QuotaError(words, source=SOURCE, hint="run it again after the limit's reset")
        raise RetriableError(words, source=SOURCE, hint="try again later")

    def _path(self, rest: str) -> str:
        return f"/bulk/v1/{self.kind}/export/{rest}"

    def _post(self, rest: str, body: object = None) -> Mapping[str, object]:
        # A job that was created twice does no harm: one that is not enqueued costs nothing.
        answer = self.http.fetch(
            "POST", self._path(rest), json=body, parse=json_object, is_repeatable=True
        )
        return self._answer(answer)

    @staticmethod
    def _answer(answer: Mapping[str, object]) -> Mapping[str, object]:
        results = _results(answer)
        if not results:
            raise RetriableError(
                "an answer about an export names none", source=SOURCE, hint="try again later"
            )
        return results[0]
