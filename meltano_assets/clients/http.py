"""HTTP as every REST vendor needs it: one careful exchange at a time.

Belongs here: retries (nowhere else), bounded bodies, redirects and links. Does not belong here:
what to choose from (``policy``), paging and streams (``sources/``), a vendor's protocol (its own
client).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urljoin, urlsplit, urlunsplit

import orjson
import requests
import urllib3
from requests.adapters import HTTPAdapter

from meltano_assets.clients.policy import (
    MEBIBYTE,
    Action,
    Auth,
    BrokenAnswerError,
    ErrorTable,
    RateBudget,
    Response,
    TokenAuth,
    Transport,
)
from meltano_assets.clients.redaction import redact
from meltano_assets.errors import (
    CredentialsError,
    FatalError,
    GoneError,
    PlatformError,
    QuotaError,
    RetriableError,
    SkippableError,
)

T = TypeVar("T")

_CHUNK = 1 << 18
_MAX_REDIRECTS = 5
_MAX_CONNECTIONS = 32
_GONE_HINT = "it is not there, or no longer: look whether the vendor still has it"
_REFUSED_HINT = (
    "the vendor does not take this request: compare the source's settings with its words"
)
_REPEATABLE = frozenset({"GET", "HEAD", "PUT", "DELETE"})


class _BrokenBodyError(Exception):
    """The answer arrived, but not whole or not in its form."""


class _RefusedError(Exception):
    """The vendor answered with an error."""

    def __init__(self, response: Response, action: Action, code: str, message: str) -> None:
        super().__init__(code)
        self.response = response
        self.action = action
        self.code = code
        self.message = message

    @property
    def words(self) -> str:
        """Status, code and the beginning of the message."""
        status = self.response.status
        phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
        message = " ".join(self.message.split())[:300]
        detail = ": ".join(part for part in (self.code, message) if part)
        return f"answer {status} {phrase}".rstrip() + (f" ({detail})" if detail else "")


class _Session(requests.Session):
    """A session that never looks after redirects itself, nor reads their bodies."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from taking credentials out of a .netrc file."""
    return request


class HttpClient:
    """Exchanges with one vendor below one base URL; counts its ``requests``.

    Nothing but the given base URL is ever contacted: absolute links are re-based on it, and a
    redirect to another host is refused, so that credentials stay where they belong.
    """

    def __init__(
        self,
        base_url: str,
        *,
        source: str,
        auth: Auth | None = None,
        errors: ErrorTable | None = None,
        headers: Mapping[str, str] | None = None,
        budget: RateBudget | None = None,
        transport: Transport | None = None,
        secrets: Iterable[str] = (),
        hint: str | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise FatalError(
                "the base URL is not a plain http(s) address", source=source, hint=hint
            )
        self.base_url = base_url.rstrip("/")
        self.source = source
        self.auth = auth
        self.requests = 0
        self.last_headers: Mapping[str, str] = {}
        self._errors = errors or ErrorTable()
        self._headers = dict(headers or {})
        self._budget = budget
        self.transport = transport or Transport()
        self._secrets = tuple(secrets)
        self.hint = hint
        self._count = threading.Lock()
        self._session = _Session()
        # Threads share the session: the pool is as wide as the widest reader.
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=_MAX_CONNECTIONS))
        self._session.headers["User-Agent"] = "meltano-assets"

    def close(self) -> None:
        """Close kept connections."""
        self._session.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def redact(self, text: str) -> str:
        """The text without this client's secrets."""
        return redact(text, (*self._secrets, *(self.auth.secrets if self.auth else ())))

    def url(self, link: str) -> str:
        """A path or an absolute link of the vendor, re-based on the configured base URL."""
        base = urlsplit(self.base_url)
        parts = urlsplit(link)
        path = "/" + parts.path.lstrip("/")
        if base.path and not f"{path}/".startswith(f"{base.path}/"):
            path = base.path + path
        return urlunsplit((base.scheme, base.netloc, path, parts.query, ""))

    def get_json(
        self, link: str, params: Mapping[str, str | int] | None = None
    ) -> dict[str, object]:
        """GET a JSON object."""
        return self.fetch("GET", link, params=params, parse=json_object)

    def fetch(
        self,
        method: str,
        link: str,
        *,
        parse: Callable[[Response], T],
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        data: bytes | Mapping[str, str] | Callable[[], bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        is_repeatable: bool | None = None,
        is_authenticated: bool = True,
    ) -> T:
        """One exchange, repeated as far as that is safe, read by ``parse``.

        ``data`` may be a function: it is asked anew for every try, for bodies that count once.
        A ValueError of ``parse`` means a broken body and counts as a failed try. A request that
        is not repeatable (a POST or PATCH by default) is sent again only when the vendor has
        surely not acted on it.
        """
        repeatable = method in _REPEATABLE if is_repeatable is None else is_repeatable
        request = requests.Request(
            method,
            self.url(link),
            params=dict(params or {}),
            data=orjson.dumps(json) if json is not None else data,
            headers={**({"Content-Type": "application/json"} if json is not None else {})},
        )
        request.headers.update(headers or {})

        def accept(answer: requests.Response, line: str) -> T:
            response = self._read(answer, line)
            self._judge(response)
            return _parsed(parse, response)

        return self._exchange(request, accept, repeatable, is_authenticated)

    @contextlib.contextmanager
    def download(
        self,
        link: str,
        params: Mapping[str, str | int] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """GET a body too large to hold: its headers and its chunks.

        Failures before the first byte are retried; one in the middle is a RetriableError.
        """
        request = requests.Request(
            "GET", self.url(link), params=dict(params or {}), headers=dict(headers or {})
        )
        line = self._line(request)
        opened = self._exchange(request, self._opened, True, True)
        try:
            yield opened.headers, self._chunks(opened, None, line)
        finally:
            opened.close()

    # -- one exchange with its retries --

    def _opened(self, answer: requests.Response, line: str) -> requests.Response:
        if answer.status_code >= 300:
            self._judge(self._read(answer, line))
        return answer

    def _judge(self, response: Response) -> None:
        if self.transport.after_response:
            self.transport.after_response(self.source, response)
        if verdict := self._errors.judge(response):
            raise _RefusedError(response, *verdict)

    def _exchange(
        self,
        request: requests.Request,
        accept: Callable[[requests.Response, str], T],
        repeatable: bool,
        authenticated: bool,
    ) -> T:
        retry, clock = self.transport.retry, self.transport.clock
        line = self._line(request)
        has_renewed = False
        waited = 0.0
        attempt = 0
        while True:
            attempt += 1
            floor = 0.0
            is_safe = repeatable
            try:
                return accept(self._send(request, line, authenticated), line)
            except _RefusedError as refusal:
                if refusal.action == "refresh" and authenticated and not has_renewed:
                    has_renewed = True
                    if self.auth is not None and self.auth.renew():
                        attempt -= 1
                        continue
                is_safe = is_safe or refusal.action == "throttle"
                if refusal.action not in {"retry", "throttle"} or not is_safe:
                    raise self._error(refusal, line) from None
                floor = max(
                    retry_after_seconds(refusal.response.headers, clock.now()),
                    self._errors.wait_seconds(refusal.code, refusal.response.status),
                )
                problem = refusal.words
            except requests.ConnectionError as error:
                is_safe = is_safe or _is_never_sent(error)
                problem = f"cannot reach {self._host}: {_reason(error)}"
            except (requests.Timeout, urllib3.exceptions.TimeoutError):
                problem = "no answer in time"
            except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
                problem = f"the answer broke off: {type(error).__name__}"
            except _BrokenBodyError as error:
                problem = str(error)
            if not is_safe:
                raise RetriableError(
                    self.redact(f"{problem}, in {line}; whether the vendor acted is unknown"),
                    source=self.source,
                    hint="try again later",
                )
            wait = retry.wait_seconds(attempt, floor, clock.chance())
            if attempt >= retry.tries or waited + wait > retry.patience_seconds:
                raise RetriableError(
                    self.redact(f"{problem}; gave up after {_times(attempt)} of {line}"),
                    source=self.source,
                    hint=f"try again in {wait:.0f} s or later" if floor else "try again later",
                )
            waited += wait
            clock.sleep(wait)

    def _send(self, request: requests.Request, line: str, authenticated: bool) -> requests.Response:
        """Send once, following redirects inside the base URL's host."""
        hop = requests.Request(
            request.method,
            request.url,
            params=request.params,
            data=request.data() if callable(request.data) else request.data,
            headers={**self._headers, **request.headers},
        )
        if authenticated and self.auth is not None:
            hop.headers.update(self.auth.headers())
        for _ in range(_MAX_REDIRECTS + 1):
            self._await_turn()
            hop.auth = _as_it_is
            prepared = self._session.prepare_request(hop)
            settings = self._session.merge_environment_settings(
                prepared.url or "", {}, True, None, None
            )
            if _is_loopback(self.base_url):
                settings["proxies"] = {}
            with self._count:
                self.requests += 1
            answer = self._session.send(
                prepared,
                allow_redirects=False,
                timeout=self.transport.timeout_seconds,
                **settings,
            )
            self.last_headers = answer.headers
            location = answer.headers.get("Location")
            if answer.status_code not in {301, 302, 303, 307, 308} or not location:
                return answer
            answer.close()
            target = urljoin(prepared.url or "", location)
            if _origin(target) != _origin(self.base_url) or request.method not in {"GET", "HEAD"}:
                raise FatalError(
                    self.redact(
                        f"{line} is redirected to {_origin(target)}, which was not followed"
                    ),
                    source=self.source,
                    hint="if that is the vendor's right address, configure it as the base URL",
                )
            hop.url, hop.params = target, {}
        raise RetriableError(
            f"{line} is redirected in a circle", source=self.source, hint="try again later"
        )

    def _await_turn(self) -> None:
        clock = self.transport.clock
        if self._budget is not None:
            wait = self._budget.book(clock.monotonic())
            if wait > 0:
                clock.sleep(wait)
        if self.transport.before_request:
            self.transport.before_request(self.source)

    def _read(self, answer: requests.Response, line: str) -> Response:
        try:
            body = b"".join(self._chunks(answer, self.transport.max_body_bytes, line))
        finally:
            answer.close()
        return Response(answer.status_code, answer.headers, body)

    def _chunks(self, answer: requests.Response, limit: int | None, line: str) -> Iterator[bytes]:
        """The decoded body in pieces; ends at the limit, however well the body is packed."""
        size = 0
        try:
            while chunk := answer.raw.read(_CHUNK, decode_content=True):
                size += len(chunk)
                if limit is not None and size > limit:
                    raise FatalError(
                        f"the answer to {line} is larger than {limit // MEBIBYTE} MiB",
                        source=self.source,
                        hint="ask for smaller pages",
                    )
                yield chunk
        except urllib3.exceptions.HTTPError:
            if limit is not None:
                raise
            raise RetriableError(
                f"the answer to {line} broke off after {size} bytes",
                source=self.source,
                hint="try again later",
            ) from None

    # -- words --

    @property
    def _host(self) -> str:
        return urlsplit(self.base_url).netloc

    def _line(self, request: requests.Request) -> str:
        """The request line without values: method, host and path."""
        parts = urlsplit(str(request.url))
        return self.redact(f"{request.method} {parts.scheme}://{parts.netloc}{parts.path}")

    def _error(self, refusal: _RefusedError, line: str) -> PlatformError:
        words = self.redact(f"{refusal.words} to {line}")
        if refusal.action == "skip":
            return SkippableError(words, source=self.source)
        if refusal.action in {"retry", "throttle", "later"}:
            return RetriableError(words, source=self.source, hint="try again later")
        if refusal.action == "gone":
            return GoneError(words, source=self.source, hint=_GONE_HINT)
        if refusal.action == "quota":
            words = f"the vendor's request limit is used up: {words}"
            return QuotaError(
                words, source=self.source, hint="run it again after the limit's reset"
            )
        if refusal.response.status == 401 or refusal.action == "refresh":
            words = f"the credentials were refused: {words}"
            return CredentialsError(words, source=self.source, hint=self.hint)
        if refusal.response.status == 403:
            return FatalError(f"access was denied: {words}", source=self.source, hint=self.hint)
        return FatalError(words, source=self.source, hint=_REFUSED_HINT)


def json_object(response: Response) -> dict[str, object]:
    """The body as a JSON object; ValueError otherwise."""
    value = response.json()
    if not isinstance(value, dict):
        raise TypeError("not a JSON object")
    return value


def nothing(response: Response) -> None:
    """For answers whose body does not matter."""


def whole(response: Response) -> Response:
    """The answer as it is."""
    return response


def oauth_token(
    client: HttpClient,
    path: str,
    form: Mapping[str, str],
    *,
    method: str = "POST",
    prefix: str = "Bearer ",
) -> TokenAuth:
    """Logs in with client credentials: ``form`` in the body, or in the query of a GET.

    ``client`` has no authentication of its own; its error table should take refused credentials
    for ``fatal``.
    """

    def log_in() -> str:
        answer = client.fetch(
            method,
            path,
            parse=json_object,
            params=form if method == "GET" else None,
            data=form if method != "GET" else None,
            is_repeatable=True,
            is_authenticated=False,
        )
        token = answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise FatalError("the login gave no access token", source=client.source)
        return token

    return TokenAuth(log_in, prefix=prefix)


def retry_after_seconds(headers: Mapping[str, str], now: datetime) -> float:
    """The vendor's ``Retry-After``, in seconds or as a date; 0 when absent or unreadable."""
    value = headers.get("Retry-After", "").strip()
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _parsed(parse: Callable[[Response], T], response: Response) -> T:
    try:
        return parse(response)
    except (ValueError, TypeError) as error:
        kind = response.headers.get("Content-Type", "").split(";")[0] or "no content type"
        size = len(response.body)
        what = "is cut off or not what was asked for"
        if isinstance(error, BrokenAnswerError):
            what = f"is of no use: {error}"
        raise _BrokenBodyError(f"the answer ({kind}, {size} bytes) {what}") from error


def _times(count: int) -> str:
    return "1 try" if count == 1 else f"{count} tries"


def _reason(error: requests.ConnectionError) -> str:
    """What the operating system said, else the innermost error's name; without the request."""
    cause: BaseException = error
    while True:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inside = [getattr(cause, "reason", None), *cause.args, cause.__cause__, cause.__context__]
        inner = next((item for item in inside if isinstance(item, BaseException)), None)
        if inner is None:
            return type(cause).__name__
        cause = inner


def _is_never_sent(error: requests.ConnectionError) -> bool:
    """True when no connection came about, so that nothing can have been done."""
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    return isinstance(
        reason, (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    )


def _is_loopback(url: str) -> bool:
    """True for this machine, which no proxy reaches."""
    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or host.startswith("127.")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
