"""H2: cleaning, held against the public-suffix vectors, real host names and tldextract itself."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pyarrow as pa
import pytest
import tldextract
from hypothesis import example, given, settings
from hypothesis import strategies as st

from meltano_assets.hosts.clean import (
    COLUMNS,
    KINDS,
    CleanHost,
    clean_host,
    clean_hosts,
    clean_lines,
    host_name,
)

AUTHORITY = tldextract.TLDExtract(
    suffix_list_urls=(), cache_dir=None, include_psl_private_domains=True
)

#: Vectors of the public suffix list that we answer differently, and why.
DEVIATIONS = {
    # The list's implicit rule "*" makes any unknown top level a suffix. A host under a top level
    # that nobody delegated is a name of somebody's own network: it must not be told to providers.
    "example.example": "unlisted top level",
    "b.example.example": "unlisted top level",
    "a.b.example.example": "unlisted top level",
}


def rows(*raw: str | None) -> list[dict[str, str | None]]:
    return clean_hosts(pa.array(raw, pa.string())).to_pylist()


def domain(subdomain: str | None, name: str, suffix: str) -> CleanHost:
    registrable = f"{name}.{suffix}"
    full = f"{subdomain}.{registrable}" if subdomain else registrable
    return CleanHost("domain", subdomain, name, suffix, registrable, full)


def address(kind: str, text: str) -> CleanHost:
    return CleanHost(kind, clean_domain=text, clean_full_domain=text)  # type: ignore[arg-type]


def internal(text: str) -> CleanHost:
    return CleanHost("internal", clean_full_domain=text)


INVALID = CleanHost("invalid")

SHAPES = {
    "http://user:pw@Example.COM.:8080/gitlab?x#y": domain(None, "example", "com"),
    "https://gitlab.example.co.uk/users/sign_in": domain("gitlab", "example", "co.uk"),
    "a.b.example.com": domain("a.b", "example", "com"),
    "GitLab.Example.COM:8443": domain("gitlab", "example", "com"),
    "//git.example.org/x": domain("git", "example", "org"),
    r"http:\\git.example.org\x": domain("git", "example", "org"),
    "http://me@other@git.example.org/@x": domain("git", "example", "org"),
    "joe@example.com": domain(None, "example", "com"),
    "ssh://git@git.example.com:22/group/project.git": domain("git", "example", "com"),
    "http://example.com?host=evil.org": domain(None, "example", "com"),
    "http://example.com#@evil.org": domain(None, "example", "com"),
    "  example.com\r\n": domain(None, "example", "com"),
    "\ufeffexample.com\x00": domain(None, "example", "com"),
    "example.com.": domain(None, "example", "com"),
    "example.com..": domain(None, "example", "com"),
    "http://ex%61mple.com": domain(None, "example", "com"),
    "my_host.example.com": domain("my_host", "example", "com"),
    "r3---sn-abc.example.com": domain("r3---sn-abc", "example", "com"),
    "foo.github.io": domain(None, "foo", "github.io"),
    "b.test.ck": domain(None, "b", "test.ck"),
    "www.ck": domain(None, "www", "ck"),
    "a.b.c.kobe.jp": domain("a", "b", "c.kobe.jp"),
    "www.city.kobe.jp": domain("www", "city", "kobe.jp"),
    # IDNA and UTS-46
    "münchen.de": domain(None, "xn--mnchen-3ya", "de"),
    "MÜNCHEN.DE": domain(None, "xn--mnchen-3ya", "de"),
    "mu\u0308nchen.de": domain(None, "xn--mnchen-3ya", "de"),
    "xn--mnchen-3ya.de": domain(None, "xn--mnchen-3ya", "de"),
    "faß.de": domain(None, "xn--fa-hia", "de"),
    "食狮。公司。cn": domain(None, "xn--85x722f", "xn--55qx5d.cn"),
    "ｅｘａｍｐｌｅ．com": domain(None, "example", "com"),
    "пример.рф": domain(None, "xn--e1afmkfd", "xn--p1ai"),
    # addresses
    "8.8.8.8": address("ipv4", "8.8.8.8"),
    "http://8.8.8.8:3000/x": address("ipv4", "8.8.8.8"),
    "8.8.8.8.": address("ipv4", "8.8.8.8"),
    "134744072": address("ipv4", "8.8.8.8"),
    "0x08.8.2056": address("ipv4", "8.8.8.8"),
    "010.8.8.8": address("ipv4", "8.8.8.8"),
    "[2001:4860:4860::8888]:8080": address("ipv6", "2001:4860:4860::8888"),
    "2001:4860:4860:0:0:0:0:8888": address("ipv6", "2001:4860:4860::8888"),
    "[2001:4860:4860::8888%eth0]": address("ipv6", "2001:4860:4860::8888"),
    "::ffff:8.8.8.8": address("ipv4", "8.8.8.8"),
    "110.1.2.3": address("ipv4", "110.1.2.3"),
    "1.10.2.3": address("ipv4", "1.10.2.3"),
    "172.15.0.1": address("ipv4", "172.15.0.1"),
    "172.32.0.1": address("ipv4", "172.32.0.1"),
    # addresses of one network only
    "[::1]": internal("::1"),
    "0x7f.1": internal("127.0.0.1"),
    "2130706433": internal("127.0.0.1"),
    "0177.0.0.1": internal("127.0.0.1"),
    "１２７.0.0.1": internal("127.0.0.1"),
    "10.1.2.3": internal("10.1.2.3"),
    "172.16.0.1": internal("172.16.0.1"),
    "192.168.1.1": internal("192.168.1.1"),
    "100.64.0.1": internal("100.64.0.1"),
    "169.254.169.254": internal("169.254.169.254"),
    "224.0.0.1": internal("224.0.0.1"),
    "255.255.255.255": internal("255.255.255.255"),
    "0.0.0.0": internal("0.0.0.0"),
    "192.0.2.7": internal("192.0.2.7"),
    "fe80::1%eth0": internal("fe80::1"),
    "fc00::1": internal("fc00::1"),
    "ff02::1": internal("ff02::1"),
    "2001:db8::1": internal("2001:db8::1"),
    "::ffff:10.0.0.1": internal("10.0.0.1"),
    "2002:0a00:0001::1": internal("2002:a00:1::1"),
    "64:ff9b::10.0.0.1": internal("64:ff9b::a00:1"),
    # names of one network only
    "localhost": internal("localhost"),
    "http://localhost:3000/": internal("localhost"),
    "gitlab": internal("gitlab"),
    "gitlab.local": internal("gitlab.local"),
    "GitLab.Local.": internal("gitlab.local"),
    "git.corp.internal": internal("git.corp.internal"),
    "git.lan": internal("git.lan"),
    "git.corp": internal("git.corp"),
    "git.home.arpa": internal("git.home.arpa"),
    "1.0.0.10.in-addr.arpa": internal("1.0.0.10.in-addr.arpa"),
    "abcdefghijklmnop.onion": internal("abcdefghijklmnop.onion"),
    "git.example.test": internal("git.example.test"),
    "git.mycompany": internal("git.mycompany"),
    "com": internal("com"),
    # nothing that a host can be called
    "": INVALID,
    " \r\n": INVALID,
    "@#$^#$": INVALID,
    "http://": INVALID,
    "http:///path": INVALID,
    "exam\r\nple.com": INVALID,
    "example.com\r\nHost: evil.org": INVALID,
    "a.com, b.com": INVALID,
    "😀.com": INVALID,
    "xn--ls8h.la": INVALID,
    "xn--foo-.com": INVALID,
    "a..example.com": INVALID,
    ".example.com": INVALID,
    "-a.example.com": INVALID,
    "a-.example.com": INVALID,
    "*.example.com": INVALID,
    "{{ host }}.example.com": INVALID,
    "a" * 64 + ".com": INVALID,
    "ü" * 300 + ".com": INVALID,
    ".".join(["abcdefghi"] * 26) + ".com": INVALID,
    "x" * 5000: INVALID,
    "256.1.1.1": INVALID,
    "1.2.3.4.5": INVALID,
    "08.1.1.1": INVALID,
    "4294967296": INVALID,
    "[::1": INVALID,
    "[10.0.0.1]": INVALID,
    "[::1]x": INVALID,
    "1::2::3": INVALID,
    "example.com:http": INVALID,
    "about:blank": INVALID,
    "javascript:alert(1)": INVALID,
    "mailto:joe@example.com": INVALID,
    "file:///etc/passwd": INVALID,
    "android-app://com.example.app": INVALID,
    "co.uk": INVALID,
    "github.io": INVALID,
}


@pytest.mark.parametrize("raw", SHAPES, ids=lambda raw: repr(raw)[:40])
def test_every_shape_a_ping_can_carry(raw: str) -> None:
    assert clean_host(raw) == SHAPES[raw]


def test_a_missing_host_is_invalid_and_order_is_kept() -> None:
    answer = rows("b.com", None, "a.com", "b.com")
    assert [row["raw_host"] for row in answer] == ["b.com", None, "a.com", "b.com"]
    assert [row["kind"] for row in answer] == ["domain", "invalid", "domain", "domain"]
    assert list(answer[0]) == list(COLUMNS)


def test_columns_of_every_form_are_taken() -> None:
    assert clean_hosts(pa.array([], pa.string())).num_rows == 0
    assert clean_hosts(pa.chunked_array([], pa.string())).num_rows == 0
    assert clean_hosts(pa.nulls(3, pa.string())).column("kind").to_pylist() == ["invalid"] * 3
    hosts = ["x.a.com", "10.0.0.1", None, "a.com"]
    wanted = rows(*hosts)
    chunked = pa.chunked_array([hosts[:1], [], hosts[1:]], pa.string())
    assert clean_hosts(chunked).to_pylist() == wanted
    for kind in (pa.large_string(), pa.string_view()):
        assert clean_hosts(pa.array(hosts, pa.string()).cast(kind)).to_pylist() == wanted
    sliced = pa.array(["first.com", *hosts, "last.com"]).slice(1, len(hosts))
    assert clean_hosts(sliced).to_pylist() == wanted


def test_repeating_and_distinct_columns_give_the_same() -> None:
    hosts = [f"https://h{i}.example{i % 7}.com:80/x" for i in range(300)] + list(SHAPES)
    once = rows(*hosts)
    assert rows(*hosts * 5) == once * 5


def test_public_suffix_vectors(shared_fixtures: Path) -> None:
    text = (shared_fixtures / "psl" / "test_psl.txt").read_text(encoding="utf-8")
    vectors = re.findall(r"^checkPublicSuffix\('(.*)', (?:null|'(.*)')\);", text, re.MULTILINE)
    assert len(vectors) == 77
    differing = {
        host
        for host, wanted in vectors
        if clean_host(host).clean_domain != (_a_labels(wanted) if wanted else None)
    }
    assert differing == set(DEVIATIONS)


def _a_labels(name: str) -> str:
    return name.encode("idna").decode("ascii")


def test_real_host_names_are_all_kept_and_split_as_tldextract_does(shared_fixtures: Path) -> None:
    lines = (shared_fixtures / "hosts" / "adserver-hosts.txt").read_text("utf-8").splitlines()
    table = clean_hosts(pa.array(lines, pa.string()))
    assert table.column("raw_host").to_pylist() == lines
    answers = table.to_pylist()
    assert sum(row["kind"] == "domain" for row in answers) > 0.99 * len(lines)
    assert _differences(answers) == []


def _differences(answers: list[dict[str, str | None]]) -> list[object]:
    """Rows of kind domain that tldextract splits otherwise."""
    found: list[object] = []
    for row in answers:
        if row["kind"] == "domain":
            theirs = AUTHORITY(row["clean_full_domain"] or "")
            ours = (row["subdomain"] or "", row["domain"], row["suffix"])
            if ours != (theirs.subdomain, theirs.domain, theirs.suffix):
                found.append((row, theirs))
    return found


def test_every_rule_of_the_list_splits_as_tldextract_does() -> None:
    hosts = []
    for rule in sorted(AUTHORITY.tlds):
        name = rule.removeprefix("!").replace("*", "wild")
        hosts += [name, f"me.{name}", f"www.me.{name}", f"a.b.www.me.{name}"]
        hosts += [name.partition(".")[2], f"www.{name.partition('.')[2]}"]
    hosts = [host for host in hosts if host]
    answers = rows(*hosts)
    assert _differences(answers) == []
    for host, row in zip(hosts, answers, strict=True):
        theirs = AUTHORITY(host)
        if not theirs.suffix or host.endswith((".arpa", ".onion")) or "." not in host:
            assert row["kind"] == "internal", host
        else:
            assert row["kind"] == ("domain" if theirs.domain else "invalid"), host


_LABEL = st.one_of(
    st.sampled_from(
        [
            "com",
            "co",
            "uk",
            "jp",
            "kobe",
            "c",
            "city",
            "www",
            "ck",
            "io",
            "github",
            "compute",
            "amazonaws",
            "s3",
            "local",
            "arpa",
            "home",
            "localhost",
            "xn--p1ai",
            "xn--55qx5d",
            "xn--zzzzzzzzz",
            "cn",
            "公司",
            "münchen",
            "1",
            "0x7f",
            "10",
            "255",
            "a_b",
            "-",
            "a-",
            "internal",
        ]
    ),
    st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True),
    st.text(max_size=6),
)
_NAME = st.lists(_LABEL, min_size=1, max_size=7).map(".".join)
_HOSTS = st.one_of(
    _NAME,
    st.text(max_size=40),
    st.builds(
        "{}{}{}{}{}".format,
        st.sampled_from(
            ["", "http://", "HTTPS://", "//", "file:", "mailto:", "http:", "data:", " "]
        ),
        st.sampled_from(["", "u@", "u:p@", "@", "a@b@", "[", "::"]),
        _NAME,
        st.sampled_from(["", ":80", ":", ":x", "]", "%25", "."]),
        st.sampled_from(["", "/", "/x@y", "?q", "#", "\\", "\r\n", " x"]),
    ),
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]:443"),
    st.integers(0, 2**33).map(str),
)


@given(st.lists(_HOSTS, min_size=1, max_size=12))
@example(["httpſ://x.com", "Kelvin.com", "https://K.com"])
@settings(max_examples=100, deadline=None)
def test_any_text_is_cleaned_to_something_that_cleans_to_itself(hosts: list[str]) -> None:
    answers = rows(*hosts)
    for raw, row in zip(hosts, answers, strict=True):
        assert row["raw_host"] == raw
        assert row["kind"] in KINDS
        for value in list(row.values())[2:]:
            if value is not None:
                assert value, row
                assert not value.startswith(".") and not value.endswith("."), row
                assert ".." not in value, row
        full = row["clean_full_domain"]
        assert (full is None) == (row["kind"] == "invalid")
        assert (row["clean_domain"] is None) == (row["kind"] in ("internal", "invalid"))
        assert (row["domain"] is None) == (row["kind"] != "domain")
        if full is not None:
            assert rows(full)[0] == row | {"raw_host": full}
    assert _differences(answers) == []


@given(st.lists(_HOSTS, min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_the_quick_way_and_the_exact_way_find_the_same_name(hosts: list[str]) -> None:
    for row in rows(*hosts):
        exact = host_name(row["raw_host"] or "")
        through = rows(exact)[0]
        assert through | {"raw_host": row["raw_host"]} == row


def test_lines_become_csv_in_their_order() -> None:
    lines = [
        b"b.example.com\n",
        b"10.0.0.1\r\n",
        b"\n",
        b'"quo,ted".com\n',
        b"\xff\xfe.com\n",
        b"a.de",
    ]
    out = io.StringIO()
    assert clean_lines(iter(lines), out, rows_per_batch=2) == 6
    got = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [row["kind"] for row in got] == ["domain", "internal", *["invalid"] * 3, "domain"]
    assert got[0] == dict(
        zip(
            COLUMNS,
            ["b.example.com", "domain", "b", "example", "com", "example.com", "b.example.com"],
            strict=True,
        )
    )
    assert got[3]["raw_host"] == '"quo,ted".com'
