"""P1: pseudonyms join within a domain and nowhere else, and keys can change."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from decimal import Decimal
from hashlib import sha256

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meltano_assets.errors import FatalError
from meltano_assets.privacy import PATTERN, default_domain, key_ring

OLD = key_ring("k1:a-secret-of-chance-1")
NEW = key_ring("k1:a-secret-of-chance-1,k2:another-secret-of-chance")


def test_a_pseudonym_is_the_keyed_hash_under_its_domains_key() -> None:
    domain_key = hmac.digest(b"a-secret-of-chance-1", b"meltano-assets domain\0email", sha256)
    digest = hmac.digest(domain_key, b"ann@example.com", sha256)
    text = urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert OLD.pseudonym("Ann@Example.com", "email") == f"~k1~{text}"


@pytest.mark.parametrize(
    ("domain", "same"),
    [
        (
            "email",
            ["ann@example.com", " Ann@EXAMPLE.com\n", "ａnn@example.com", "Ann <ann@example.com>"],
        ),
        ("email", ["ann@bücher.example", "ann@xn--bcher-kva.example", "ann@BÜCHER.example."]),
        ("phone", ["+49 (30) 1234-5", "0049 30 12345", "+4930 12345"]),
        ("name", ["Ann  Smith", "ann smith "]),
        ("text", ["x", " x "]),
    ],
)
def test_spellings_of_one_value_have_one_pseudonym(domain: str, same: list[str]) -> None:
    assert len({OLD.pseudonym(text, domain) for text in same}) == 1


def test_domains_and_keys_do_not_join() -> None:
    other = key_ring("k1:quite-another-secret")
    values = {
        OLD.pseudonym("ann", "email"),
        OLD.pseudonym("ann", "name"),
        other.pseudonym("ann", "email"),
        NEW.pseudonym("ann", "email"),
    }
    assert len(values) == 4


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text())), st.sampled_from(["email", "phone", "x"]))
def test_a_column_is_replaced_as_its_values_are(values: list[str | None], domain: str) -> None:
    texts = [
        value if value is None else value.encode("utf-8", "replace").decode() for value in values
    ]
    found = NEW.pseudonyms(pa.array(texts, pa.string()), domain).to_pylist()
    assert found == [value if not value else NEW.pseudonym(value, domain) for value in texts]


def test_numbers_and_lone_surrogates_are_replaced_too() -> None:
    assert OLD.pseudonyms(pa.array([7, None]), "id").to_pylist() == [OLD.pseudonym("7", "id"), None]
    few, many = pa.array([Decimal("7.5")]), pa.array([Decimal("7.500"), Decimal("7.501")])
    assert OLD.pseudonyms(few, "x")[0] == OLD.pseudonyms(many, "x")[0]
    broken = pa.array([b"a\xed\xa0\x80"], pa.binary()).view(pa.string())
    [text] = OLD.pseudonyms(broken, "name").to_pylist()
    assert text.startswith("~k1~")


@settings(deadline=None)
@given(st.text(min_size=1))
def test_changing_keys_gives_what_new_values_get(value: str) -> None:
    stored = OLD.pseudonym(value, "email")
    assert NEW.renewed(stored) == NEW.pseudonym(value, "email")
    assert NEW.renewed_in(f'{{"a": "{stored}"}}') == f'{{"a": "{NEW.renewed(stored)}"}}'
    assert NEW.renewed(NEW.renewed(stored)) == NEW.pseudonym(value, "email")


def test_what_is_no_pseudonym_stays_and_a_lost_key_is_named() -> None:
    assert NEW.renewed("ann@example.com") == "ann@example.com"
    with pytest.raises(FatalError, match="'k9'"):
        NEW.renewed(OLD.pseudonym("x", "email").replace("~k1~", "~k9~"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "k1",
        "k1:short",
        "K 1:a-secret-of-chance-1",
        "k1:a-secret-of-chance-1,k1:a-secret-of-chance-2",
    ],
)
def test_keys_that_are_none_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(FatalError) as info:
        key_ring(text)
    assert "secret-of" not in str(info.value)
    assert "MELTANO_PSEUDONYM_KEYS" in str(info.value)


def test_no_key_shows_in_a_representation() -> None:
    assert "chance" not in repr(NEW)
    assert PATTERN


def test_email_columns_of_all_sources_share_a_domain() -> None:
    names = ["email", "requester_email", "email_address", "mobile_phone", "first_name"]
    assert [default_domain(name) for name in names] == [
        "email",
        "email",
        "email",
        "phone",
        "first_name",
    ]
