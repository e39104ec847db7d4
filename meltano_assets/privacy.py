"""Pseudonyms: values of personal data replaced by keyed hashes before they are stored.

Belongs here: keys, normal forms, hashing and changing keys. Does not belong here: which columns are
replaced (``sources/rules.py``).

A pseudonym is ``~<key id>~<43 characters>``: HMAC-SHA-256 under a key of its own for each domain of
use, derived from the secret. Equal values of one domain have equal pseudonyms, in whatever source they occur; values of two
domains never have. Keys come from ``MELTANO_PSEUDONYM_KEYS`` (``id:secret``, oldest first, by
commas) and from nowhere else.

Changing keys needs no plain text and no domain: with a newer key, a pseudonym is the HMAC, under that
key, of the one before. So ``pseudonyms rotate`` goes over stored values, and new values pass through
all keys in turn; older keys stay in the variable, and whoever knows only them can compute no
pseudonym that is stored now.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING

from meltano_assets import environment
from meltano_assets.errors import FatalError

if TYPE_CHECKING:
    import pyarrow as pa

VARIABLE = "MELTANO_PSEUDONYM_KEYS"
_KEY_ID = re.compile(r"[a-z0-9]{1,12}")
#: A pseudonym, wherever it stands: in a column, or inside the text of a quarantined record.
PATTERN = r"~([a-z0-9]{1,12})~([A-Za-z0-9_-]{43})"
_PSEUDONYM = re.compile(PATTERN)
_SHORTEST_SECRET = 16
_HINT = f"set {VARIABLE} to id:secret, at least {_SHORTEST_SECRET} characters of chance"


def _plain(value: str) -> str:
    return unicodedata.normalize("NFKC", value).strip()


def _email(value: str) -> str:
    """Lower case, the domain in its ASCII form; a display name around it is left out."""
    text = _plain(value).casefold()
    if inside := re.search(r"<([^<>]+@[^<>]+)>", text):
        text = inside.group(1).strip()
    name, at, domain = text.rpartition("@")
    if not at:
        return text
    domain = domain.rstrip(".")
    with suppress(UnicodeError):  # what is no domain keeps its letters
        domain = domain.encode("idna").decode()
    return f"{name}@{domain}"


def _phone(value: str) -> str:
    text = _plain(value)
    digits = re.sub(r"\D", "", text)
    if text.startswith("00"):
        digits = digits.removeprefix("00")
        return f"+{digits}"
    return f"+{digits}" if text.startswith("+") else digits


def _name(value: str) -> str:
    return " ".join(_plain(value).casefold().split())


#: How values of a domain are written before they are hashed; others only lose blanks around them.
NORMAL_FORMS: Mapping[str, Callable[[str], str]] = {
    "email": _email,
    "phone": _phone,
    "name": _name,
}


def default_domain(column: str) -> str:
    """The domain of a column for which none is given: ``email``, ``phone``, else the column's name.

    So e-mail addresses join across sources.
    """
    words = column.lower().split("_")
    if {"email", "mail"} & set(words):
        return "email"
    if {"phone", "mobile", "fax"} & set(words):
        return "phone"
    return column.lower()


@dataclass(frozen=True, slots=True)
class Key:
    """One key by its id."""

    id: str
    secret: bytes = field(repr=False)

    def for_domain(self, domain: str) -> bytes:
        """The key of one domain of use."""
        return hmac.digest(self.secret, b"meltano-assets domain\0" + domain.encode(), sha256)

    @property
    def for_older(self) -> bytes:
        """The key that turns an older key's pseudonyms into this one's."""
        return hmac.digest(self.secret, b"meltano-assets rotation", sha256)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys, oldest first; the last one marks new pseudonyms."""

    keys: tuple[Key, ...]

    @property
    def current(self) -> str:
        """The id of the newest key."""
        return self.keys[-1].id

    def pseudonym(self, value: str, domain: str) -> str:
        """The pseudonym of one value."""
        text = NORMAL_FORMS.get(domain, _plain)(value)
        digest = text.encode("utf-8", "surrogatepass")
        for secret in self._secrets(domain):
            digest = _hashed(secret, digest)
        return f"~{self.current}~{digest.decode()}"

    def _secrets(self, domain: str) -> list[bytes]:
        first, *newer = self.keys
        return [first.for_domain(domain), *(key.for_older for key in newer)]

    def pseudonyms(self, values: pa.Array, domain: str) -> pa.Array:
        """A column of them; each different value is hashed once. Nulls and empty texts stay."""
        import pyarrow as pa
        import pyarrow.compute as pc

        texts = _as_texts(values)
        encoded = pc.dictionary_encode(texts)
        different = encoded.dictionary.cast(pa.binary()).to_pylist()
        normal = NORMAL_FORMS.get(domain, _plain)
        secrets = self._secrets(domain)
        made: list[str] = []
        for raw in different:
            if not raw:
                made.append("")
                continue
            digest = normal(raw.decode("utf-8", "surrogatepass")).encode("utf-8", "surrogatepass")
            for secret in secrets:
                digest = _hashed(secret, digest)
            made.append(f"~{self.current}~{digest.decode()}")
        return pa.array(made, pa.string()).take(encoded.indices)

    @property
    def older(self) -> tuple[str, ...]:
        """The ids of all keys but the newest."""
        return tuple(key.id for key in self.keys[:-1])

    def renewed_in(self, text: str) -> str:
        """A text with every pseudonym in it under the newest key."""
        return _PSEUDONYM.sub(lambda found: self.renewed(found.group()), text)

    def renewed(self, pseudonym: str) -> str:
        """A stored pseudonym under the newest key; what is none, or is new already, stays."""
        found = _PSEUDONYM.fullmatch(pseudonym)
        if found is None:
            return pseudonym
        ids = [key.id for key in self.keys]
        if found.group(1) not in ids:
            raise FatalError(
                f"a stored pseudonym has the key {found.group(1)!r}, which is not there",
                hint=f"{VARIABLE} needs every key that was ever used, oldest first",
            )
        digest = found.group(2).encode()
        for key in self.keys[ids.index(found.group(1)) + 1 :]:
            digest = _hashed(key.for_older, digest)
        return f"~{self.current}~{digest.decode()}"


def _hashed(secret: bytes, text: bytes) -> bytes:
    return urlsafe_b64encode(hmac.digest(secret, text, sha256)).rstrip(b"=")


def _as_texts(values: pa.Array) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return values
    texts = values.cast(pa.string())
    if pa.types.is_decimal(values.type):
        # A batch has as many places as its longest value: 7, 7.0 and 7.00 are one number.
        texts = pc.replace_substring_regex(texts, r"(\.[0-9]*?)0+$", r"\1")
        texts = pc.utf8_rtrim(texts, ".")
    return texts


def key_ring(text: str | None = None) -> KeyRing:
    """The keys of the environment; FatalError when there are none or they cannot be keys."""
    written = environment.variable(VARIABLE) if text is None else text
    if not written:
        raise FatalError("columns are to be pseudonymized, but there is no key", hint=_HINT)
    keys: list[Key] = []
    for part in written.split(","):
        key_id, colon, secret = part.strip().partition(":")
        if not colon or not _KEY_ID.fullmatch(key_id) or len(secret) < _SHORTEST_SECRET:
            raise FatalError(f"{VARIABLE} cannot be read", hint=_HINT)
        keys.append(Key(key_id, secret.encode()))
    if len({key.id for key in keys}) < len(keys):
        raise FatalError(f"{VARIABLE} names a key twice", hint=_HINT)
    return KeyRing(tuple(keys))
