"""The HTTP client against a server that behaves well and badly."""
# ruff: noqa: SIM117 the server's block and the claim about it stay apart

from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path

import pytest

from meltano_assets.clients.http import HttpClient, json_object, whole
from meltano_assets.clients.policy import (
    MEBIBYTE,
    BasicAuth,
    ErrorTable,
    HeaderAuth,
    LoopGuard,
    RateBudget,
    Response,
    Retry,
    TokenAuth,
    Transport,
)
from meltano_assets.clients.redaction import redact
from meltano_assets.errors import FatalError, RetriableError, SkippableError
from meltano_assets_tests.clients.local_server import (
    Answer,
    FakeClock,
    LocalServer,
    Request,
    free_port,
    in_turn,
    serving,
)

GOOD = Answer(b'{"ok": true}')


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def client(server: LocalServer, clock: FakeClock, **options: object) -> HttpClient:
    settings: dict[str, object] = {"source": "vendor", "transport": clock.transport(), **options}
    return HttpClient(server.base_url, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "bad",
    [
        Answer(status=500),
        Answer(status=502, body=b"<html>bad gateway</html>", content_type="text/html"),
        Answer(status=503),
        Answer(status=429, body=b"slow down", content_type="text/plain"),
        Answer(is_dropped=True),
        Answer(b'{"ok": true, "padding": "' + b"x" * 5000 + b'"}', cut=100),
        Answer(b'{"ok": tr'),
        Answer(b"<html>please log in</html>", content_type="text/html"),
        Answer(b""),
    ],
    ids=["500", "502", "503", "429", "drop", "truncated", "half", "html", "empty"],
)
def test_passing_trouble_is_survived(bad: Answer, clock: FakeClock) -> None:
    with serving(in_turn(bad, bad, GOOD)) as server, client(server, clock) as http:
        assert http.get_json("/x") == {"ok": True}
        assert http.requests == 3
    assert clock.slept == [0.5, 1.0]


def test_lasting_trouble_is_retriable_and_says_where_and_how_often(clock: FakeClock) -> None:
    with serving(in_turn(Answer(status=503))) as server, client(server, clock) as http:
        with pytest.raises(
            RetriableError, match=r"503 Service Unavailable.*4 tries of GET"
        ) as info:
            http.get_json("/x", {"q": "customer@example.com"})
        assert info.value.source == "vendor"
        assert "customer" not in str(info.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Thu, 01 Jan 2026 00:00:09 GMT", 9.0), ("0.5", 0.5), ("soon", 0.5)],
)
def test_retry_after_is_a_floor(value: str, seconds: float, clock: FakeClock) -> None:
    slow = Answer(status=429, headers={"Retry-After": value})
    with serving(in_turn(slow, GOOD)) as server, client(server, clock) as http:
        http.get_json("/x")
    assert clock.slept == [seconds]


def test_a_wait_beyond_all_patience_is_not_waited(clock: FakeClock) -> None:
    slow = Answer(status=429, headers={"Retry-After": "86400"})
    with serving(in_turn(slow)) as server, client(server, clock) as http:
        with pytest.raises(RetriableError, match="try again in 86400 s"):
            http.get_json("/x")
    assert clock.slept == []


def test_an_unreachable_host_is_retriable(clock: FakeClock) -> None:
    port = free_port()
    with (
        HttpClient(
            f"http://127.0.0.1:{port}", source="vendor", transport=clock.transport()
        ) as http,
        pytest.raises(RetriableError, match=rf"cannot reach 127.0.0.1:{port}: .*refused"),
    ):
        http.get_json("/x")
    assert len(clock.slept) == 3


def test_a_create_is_not_sent_again_after_an_unknown_outcome(clock: FakeClock) -> None:
    for bad in (Answer(is_dropped=True), Answer(status=500), Answer(b"{", cut=0)):
        with serving(in_turn(bad, GOOD)) as server, client(server, clock) as http:
            with pytest.raises(RetriableError):
                http.fetch("POST", "/x", json={"a": 1}, parse=json_object)
            assert len(server.seen) == 1


def test_a_create_is_sent_again_when_it_was_refused_for_its_rate(clock: FakeClock) -> None:
    with serving(in_turn(Answer(status=429), GOOD)) as server, client(server, clock) as http:
        http.fetch("POST", "/x", json={"a": 1}, parse=json_object)
        assert [json.loads(request.body) for request in server.seen] == [{"a": 1}] * 2


def test_a_repeatable_post_is_repeated(clock: FakeClock) -> None:
    with serving(in_turn(Answer(status=500), GOOD)) as server, client(server, clock) as http:
        http.fetch("POST", "/x", json={"a": 1}, parse=json_object, is_repeatable=True)
        assert len(server.seen) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_fatal_and_say_where_to_set_them(
    status: int, clock: FakeClock
) -> None:
    auth = BasicAuth("me", "canary-password")
    with serving(in_turn(Answer(status=status))) as server:
        with client(server, clock, auth=auth, hint="check VENDOR_TOKEN in .env") as http:
            with pytest.raises(FatalError, match=r"vendor: .*VENDOR_TOKEN"):
                http.get_json("/x")
            assert len(server.seen) == 1


def test_an_expired_token_is_renewed_once(clock: FakeClock) -> None:
    tokens = iter(["old", "new", "never"])

    def handler(request: Request) -> Answer:
        return GOOD if request.headers["Authorization"] == "Bearer new" else Answer(status=401)

    auth = TokenAuth(lambda: next(tokens))
    with serving(handler) as server, client(server, clock, auth=auth) as http:
        assert http.get_json("/x") == {"ok": True}
        assert len(server.seen) == 2
    assert clock.slept == []
    assert next(tokens) == "never"


def test_a_token_that_is_refused_again_is_fatal(clock: FakeClock) -> None:
    auth = TokenAuth(lambda: "any")
    with serving(in_turn(Answer(status=401))) as server, client(server, clock, auth=auth) as http:
        with pytest.raises(FatalError, match="credentials were refused"):
            http.get_json("/x")
        assert len(server.seen) == 2


def test_credentials_do_not_follow_a_redirect_to_another_host(clock: FakeClock) -> None:
    with serving(in_turn(GOOD)) as thief:
        away = Answer(status=302, headers={"Location": f"{thief.base_url}/x"})
        with serving(in_turn(away)) as server:
            with client(server, clock, auth=BasicAuth("me", "secret")) as http:
                with pytest.raises(FatalError, match="was not followed"):
                    http.get_json("/x")
        assert thief.seen == []


def test_a_redirect_on_the_same_host_is_followed(clock: FakeClock) -> None:
    moved = Answer(status=301, headers={"Location": "/y?page=2"})

    def handler(request: Request) -> Answer:
        return GOOD if request.path == "/y" else moved

    with serving(handler) as server, client(server, clock, auth=HeaderAuth("Key", "k")) as http:
        assert http.get_json("/x", {"a": 1}) == {"ok": True}
        assert server.seen[-1].params == {"page": "2"}
        assert server.seen[-1].headers["Key"] == "k"


def test_redirects_in_a_circle_end(clock: FakeClock) -> None:
    circle = Answer(status=302, headers={"Location": "/x"})
    with serving(in_turn(circle)) as server, client(server, clock) as http:
        with pytest.raises(RetriableError, match="in a circle"):
            http.get_json("/x")


def test_links_of_another_host_are_rebased_on_the_base_url(clock: FakeClock) -> None:
    with serving(in_turn(GOOD)) as server, client(server, clock) as http:
        http.get_json("https://elsewhere.example/api/next?cursor=a%2Bb")
        assert server.seen[0].path == "/api/next"
        assert server.seen[0].params == {"cursor": "a+b"}


def test_a_path_prefix_of_the_base_url_is_kept_once() -> None:
    http = HttpClient("http://127.0.0.1:1/prefix/", source="vendor")
    assert http.url("/api") == "http://127.0.0.1:1/prefix/api"
    assert http.url("http://127.0.0.1:1/prefix/api?a=1") == "http://127.0.0.1:1/prefix/api?a=1"
    assert http.url("/prefixed") == "http://127.0.0.1:1/prefix/prefixed"


@pytest.mark.parametrize("url", ["ftp://x", "x.example", "https://me:secret@x.example", ""])
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(FatalError, match="base URL") as info:
        HttpClient(url, source="vendor")
    assert "secret" not in str(info.value)


def test_a_gzip_bomb_ends_at_the_limit(clock: FakeClock) -> None:
    bomb = gzip.compress(b"0" * (20 * MEBIBYTE))
    answer = Answer(bomb, headers={"Content-Encoding": "gzip"})
    transport = clock.transport(max_body_bytes=2 * MEBIBYTE)
    with serving(in_turn(answer)) as server, client(server, clock, transport=transport) as http:
        with pytest.raises(FatalError, match="larger than 2 MiB"):
            http.get_json("/x")


def test_gzip_is_unpacked(clock: FakeClock) -> None:
    answer = Answer(gzip.compress(b'{"ok": 1}'), headers={"Content-Encoding": "gzip"})
    with serving(in_turn(answer)) as server, client(server, clock) as http:
        assert http.get_json("/x") == {"ok": 1}


def test_a_broken_gzip_body_is_retried(clock: FakeClock) -> None:
    answer = Answer(b"\x1f\x8bnot gzip", headers={"Content-Encoding": "gzip"})
    with serving(in_turn(answer, GOOD)) as server, client(server, clock) as http:
        assert http.get_json("/x") == {"ok": True}


def test_a_netrc_file_is_not_asked(
    clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login thief password thief\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with serving(in_turn(GOOD)) as server:
        with client(server, clock, auth=HeaderAuth("Authorization", "mine")) as http:
            http.get_json("/x")
        assert server.seen[0].headers["Authorization"] == "mine"


def test_a_proxy_does_not_come_between_us_and_this_machine(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with serving(in_turn(GOOD)) as server, client(server, clock) as http:
        assert http.get_json("/x") == {"ok": True}


def test_a_rate_budget_is_kept_by_waiting_before_the_request(clock: FakeClock) -> None:
    with serving(in_turn(GOOD)) as server:
        with client(server, clock, budget=RateBudget(requests=2, per_seconds=10)) as http:
            for _ in range(5):
                http.get_json("/x")
    assert clock.slept == [10.0, 10.0]


def test_a_vendor_table_decides_by_code_before_status(clock: FakeClock) -> None:
    def detail(response: Response) -> tuple[str, str]:
        body = json.loads(response.body)
        return body.get("code", ""), body.get("text", "")

    table = ErrorTable(
        detail, {"BUSY": "retry", "NO_FEATURE": "skip", "QUOTA": "quota"}, in_success=True
    )
    busy, gone = Answer(b'{"code": "BUSY"}', status=400), Answer(b'{"code": "NO_FEATURE"}')
    with serving(in_turn(busy, GOOD)) as server, client(server, clock, errors=table) as http:
        assert http.get_json("/x") == {"ok": True}
    with serving(in_turn(gone)) as server, client(server, clock, errors=table) as http:
        with pytest.raises(SkippableError, match="NO_FEATURE"):
            http.get_json("/x")
    used = Answer(b'{"code": "QUOTA", "text": "daily"}', status=403)
    with serving(in_turn(used)) as server, client(server, clock, errors=table) as http:
        with pytest.raises(FatalError, match="request limit is used up"):
            http.get_json("/x")


def test_a_download_is_streamed_and_its_break_is_told(clock: FakeClock) -> None:
    body = bytes(range(256)) * 4000
    answers = in_turn(Answer(status=503), Answer(body), Answer(body, cut=300_000))
    with serving(answers) as server, client(server, clock) as http:
        with http.download("/file") as (headers, chunks):
            assert headers["Content-Length"] == str(len(body))
            assert b"".join(chunks) == body
        with http.download("/file") as (_, chunks):
            with pytest.raises(RetriableError, match="broke off after"):
                list(chunks)


def test_quota_and_usage_hooks_see_every_request(clock: FakeClock) -> None:
    sent: list[str] = []
    answered: list[int] = []
    transport = Transport(
        retry=Retry(tries=3),
        clock=clock.clock,
        before_request=sent.append,
        after_response=lambda source, response: answered.append(response.status),
    )
    with serving(in_turn(Answer(status=500), GOOD)) as server:
        with client(server, clock, transport=transport) as http:
            http.get_json("/x")
    assert sent == ["vendor", "vendor"]
    assert answered == [500, 200]


def test_loops_of_pages_raise() -> None:
    guard = LoopGuard("vendor", "stream")
    guard.check("a", [1])
    guard.check("b", [2])
    with pytest.raises(RetriableError, match=r"vendor\.stream.*same page"):
        guard.check("a", [3])
    with pytest.raises(RetriableError, match="same page"):
        guard.check("c", [3])


CANARY = "canary-5ecret/+="


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://x/y?access_token={CANARY}&a=1",
        f'{{"client_secret": "{CANARY}"}}',
        "password=abc123def",
        "Authorization: Basic YWJjZGVmZ2g6c2VjcmV0",
        "postgresql://user:abc123def@host/db",
        "<n1:sessionId>abc123def</n1:sessionId>",
    ],
)
def test_redaction_leaves_no_secret(text: str) -> None:
    shown = redact(text, [CANARY])
    assert "***" in shown
    for secret in (CANARY, "canary-5ecret%2F%2B%3D", "abc123def", "YWJjZGVmZ2g6c2VjcmV0"):
        assert secret not in shown


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=500, body=CANARY.encode()),
        Answer(status=401, body=f'{{"error": "{CANARY}"}}'.encode()),
        Answer(status=400, body=f'{{"error": "{CANARY}"}}'.encode()),
        Answer(status=302, headers={"Location": f"http://other.example/?t={CANARY}"}),
        Answer(CANARY.encode()),
        Answer(is_dropped=True),
    ],
)
def test_secrets_show_in_no_error_and_no_log(
    answer: Answer,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    auth = HeaderAuth("Authorization", f"Bearer {CANARY}")
    table = ErrorTable(lambda response: ("", response.text))
    with serving(in_turn(answer)) as server:
        http = client(server, clock, auth=auth, errors=table, secrets=[CANARY])
        with http, pytest.raises((FatalError, RetriableError)) as info:
            http.fetch("GET", "/x", params={"signature": CANARY}, parse=json_object)
    shown = f"{info.getrepr(chain=True)} {info.value} {info.value.args} {auth} {http.auth!r}"
    captured = capfd.readouterr()
    assert CANARY not in shown.replace(f'CANARY = "{CANARY}"', "")
    assert CANARY not in captured.out + captured.err


def test_pages_come_over_one_connection(clock: FakeClock) -> None:
    with serving(in_turn(GOOD)) as server, client(server, clock) as http:
        for _ in range(5):
            http.fetch("GET", "/x", parse=whole)
        assert len({request.peer for request in server.seen}) == 1
