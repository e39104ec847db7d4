"""H5 and bad input at the wire: where an exchange may go, how long and how much it may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from meltano_assets.clients.policy import Clock
from meltano_assets.hosts.exchange import (
    Exchange,
    LateError,
    Limits,
    Pace,
    ProviderError,
    ProviderStopError,
    RefusedError,
    endpoint_of,
)
from meltano_assets_tests.hosts.conftest import (
    Asked,
    Reply,
    WebServer,
    closed_port,
    line_server,
    web_server,
)

LIMITS = Limits(connect_seconds=1, total_seconds=0.6, max_bytes=1_000_000)
OK: Reply = (200, {}, {"is": "fine"})


def exchange(hasty: Clock, *servers: WebServer, **options: Any) -> Exchange:
    trusted = frozenset(endpoint_of(server.url) for server in servers)
    return Exchange(
        Pace(1000, 1.0, hasty), trusted, options.pop("limits", LIMITS), hasty, **options
    )


def test_only_trusted_endpoints_may_be_private(hasty: Clock) -> None:
    with web_server(lambda asked: OK) as trusted, web_server(lambda asked: OK) as other:
        guarded = exchange(hasty, trusted)
        assert guarded.fetch("GET", trusted.url).json_object() == {"is": "fine"}
        with pytest.raises(RefusedError):
            guarded.fetch("GET", other.url)
        assert other.asked == []
        # The same server under another name is not the endpoint that was configured.
        with pytest.raises(RefusedError):
            guarded.fetch("GET", trusted.url.replace("127.0.0.1", "localhost"))
        assert guarded.calls == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://2130706433/",
        "http://0x7f.1/",
        "//192.168.1.1/x",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "http://[::1",
        "http://example.com:notaport/",
    ],
)
def test_redirects_to_private_places_are_not_followed(hasty: Clock, target: str) -> None:
    with web_server(lambda asked: (302, {"Location": target}, b"")) as server:
        guarded = exchange(hasty, server)
        with pytest.raises(RefusedError):
            guarded.fetch("GET", server.url)
        assert len(server.asked) == 1


def test_a_name_that_resolves_to_a_private_address_is_refused(hasty: Clock) -> None:
    guarded = exchange(hasty, resolve=lambda host, port: ["10.0.0.1", "::1"])
    with pytest.raises(RefusedError):
        guarded.fetch("GET", "http://rebound.example.com/")
    with pytest.raises(RefusedError):
        guarded.converse("whois.example.com", 43, b"x\r\n")
    assert guarded.calls == 0


def test_of_several_addresses_the_first_that_answers_is_taken(hasty: Clock) -> None:
    with web_server(lambda asked: OK) as server:
        guarded = Exchange(
            Pace(10, 1.0, hasty),
            frozenset({("vendor.example.com", server.port)}),
            LIMITS,
            hasty,
            resolve=lambda host, port: ["127.0.0.99", "127.0.0.1"],
        )
        url = f"http://vendor.example.com:{server.port}/"
        assert guarded.fetch("GET", url).status == 200
        assert server.asked[0].headers["Host"] == f"vendor.example.com:{server.port}"


def test_redirects_between_trusted_endpoints_drop_credentials(hasty: Clock) -> None:
    with (
        web_server(lambda asked: OK) as second,
        web_server(lambda asked: (307, {"Location": f"{second.url}/there"}, b"")) as first,
    ):
        guarded = exchange(hasty, first, second)
        headers = {"Authorization": "Basic c2VjcmV0", "Accept": "application/json"}
        guarded.fetch("GET", first.url, headers=headers)
        assert first.asked[0].headers["Authorization"] == "Basic c2VjcmV0"
        assert "Authorization" not in second.asked[0].headers
        assert second.asked[0].headers["Accept"] == "application/json"
        with pytest.raises(RefusedError):
            guarded.fetch("POST", first.url, body=b"{}")


def test_redirects_in_a_circle_end(hasty: Clock) -> None:
    with web_server(lambda asked: (302, {"Location": "/again"}, b"")) as server:
        guarded = exchange(hasty, server, limits=Limits(tries=1))
        with pytest.raises(ProviderError, match="circle"):
            guarded.fetch("GET", server.url)
        assert len(server.asked) == 6


def drip_body(stream: Any) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    _drip(stream)


def drip_headers(stream: Any) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(stream)


def drip_without_end(stream: Any) -> None:
    stream.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    _drip(stream)


def _drip(stream: Any) -> None:
    pause = threading.Event()
    for _ in range(400):
        stream.write(b"x")
        stream.flush()
        pause.wait(0.02)


@pytest.mark.parametrize("drip", [drip_body, drip_headers, drip_without_end])
def test_an_answer_that_drips_is_cut_off(hasty: Clock, drip: Callable[[Any], None]) -> None:
    with web_server(lambda asked: (200, {}, drip)) as server:
        began = time.monotonic()
        with pytest.raises(LateError):
            exchange(hasty, server).fetch("GET", server.url)
        assert time.monotonic() - began < 3
        assert len(server.asked) == 1


def test_silence_is_cut_off(hasty: Clock) -> None:
    release = threading.Event()
    with line_server(lambda line: b"x" * release.wait(3)) as server:
        guarded = Exchange(
            Pace(10, 1.0, hasty), frozenset({("127.0.0.1", server.port)}), LIMITS, hasty
        )
        with pytest.raises(LateError):
            guarded.converse("127.0.0.1", server.port, b"x\r\n")
        release.set()


def test_ten_megabytes_are_not_taken(hasty: Clock) -> None:
    huge = b'{"x": "' + b"x" * 10_000_000 + b'"}'
    limits = Limits(total_seconds=10, max_bytes=1_000_000)
    with (
        web_server(lambda asked: (200, {}, huge)) as server,
        pytest.raises(ProviderError, match="larger than 1000000 bytes"),
    ):
        exchange(hasty, server, limits=limits).fetch("GET", server.url)
    with line_server(lambda line: huge) as lines:
        guarded = Exchange(
            Pace(10, 1.0, hasty), frozenset({("127.0.0.1", lines.port)}), limits, hasty
        )
        with pytest.raises(ProviderError, match="larger than 1000000 bytes"):
            guarded.converse("127.0.0.1", lines.port, b"x\r\n")


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(200)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n<html>",
    ],
    ids=range(7),
)
def test_broken_answers_are_failures(hasty: Clock, said: bytes) -> None:
    with (
        web_server(lambda asked: (200, {}, lambda stream: stream.write(said))) as server,
        pytest.raises(ProviderError),
    ):
        exchange(hasty, server).fetch("GET", server.url).json_object()


def test_an_unreachable_server_is_tried_again_and_then_fails(hasty: Clock) -> None:
    port = closed_port()
    guarded = Exchange(Pace(10, 1.0, hasty), frozenset({("127.0.0.1", port)}), LIMITS, hasty)
    with pytest.raises(ProviderError, match="not reachable: Connection refused"):
        guarded.fetch("GET", f"http://127.0.0.1:{port}/")
    assert guarded.calls == LIMITS.tries


def test_unknown_and_impossible_names_fail(hasty: Clock) -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    guarded = exchange(hasty, resolve=resolve)
    with pytest.raises(ProviderError, match="unknown"):
        guarded.fetch("GET", "http://nowhere.example.com/")
    with pytest.raises(ProviderError, match="unknown"):
        exchange(hasty).converse("a" * 70 + ".com", 43, b"x\r\n")


def test_a_vendor_that_wants_a_long_pause_is_left_alone(hasty: Clock) -> None:
    with (
        web_server(lambda asked: (429, {"Retry-After": "600"}, b"")) as server,
        pytest.raises(ProviderStopError, match="600 s"),
    ):
        exchange(hasty, server).fetch("GET", server.url)


def test_a_reset_time_counts_where_no_pause_is_named() -> None:
    slept: list[float] = []
    clock = Clock(sleep=slept.append, chance=lambda: 0.0)
    reset = str(int(clock.now().timestamp()) + 9)
    replies: list[Reply] = [(429, {"X-RateLimit-Reset": reset}, b""), OK]
    with web_server(lambda asked: replies.pop(0)) as server:
        exchange(clock, server).fetch("GET", server.url)
    assert 7 < max(slept) <= 10


def test_a_pace_holds_in_every_span() -> None:
    now = [0.0]
    left: list[float] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    pace = Pace(5, 10.0, Clock(monotonic=lambda: now[0], sleep=sleep))
    for _ in range(23):
        pace.wait()
        left.append(now[0])
    assert left[4] == 0
    assert left[-1] == 40
    for first, sixth in zip(left, left[5:], strict=False):
        assert sixth - first >= 10
    pace.pause(100)
    pace.wait()
    assert now[0] == 140


def test_a_pace_is_shared_by_threads() -> None:
    """200 requests of 16 threads at 100 in half a second take half a second, not more."""
    pace = Pace(100, 0.5, Clock())
    began = time.monotonic()
    threads = [threading.Thread(target=lambda: [pace.wait() for _ in range(25)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.5 <= time.monotonic() - began < 0.9


def test_what_is_sent_is_what_was_meant(hasty: Clock) -> None:
    seen: list[Asked] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked)
        return OK

    with web_server(answer) as server:
        exchange(hasty, server).fetch(
            "POST", f"{server.url}/a/b?c=d", headers={"X-Key": "v"}, body=b'{"q": 1}'
        )
    assert (seen[0].method, seen[0].path, seen[0].body) == ("POST", "/a/b?c=d", {"q": 1})
    assert seen[0].headers["X-Key"] == "v"
    assert seen[0].headers["Host"] == f"127.0.0.1:{server.port}"
