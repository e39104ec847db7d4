"""Redaction: the one function through which text passes before anybody sees it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "***"
#: Shorter ones would take ordinary words apart.
_SHORTEST = 4
_NAMES = (
    r"(?:access_?token|refresh_?token|id_?token|api_?token|api_?key|client_?secret|secret|"
    r"assertion|password|passwd|session_?id|partner_?key|signature|x-auth-token|sig)"
)
_PATTERNS = (
    (re.compile(r"(?i)\b(basic|bearer|token|oauth)\s+[a-z0-9._~+/!=\-]{8,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)(\bauthorization[\"']?\s*[:=]\s*[\"']?)[^\s\"',}]+"), rf"\1{HIDDEN}"),
    (re.compile(r"(?i)(//[^/\s:@]*:)[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(rf"(?i)(\b{_NAMES}\b[\"']?\s*[:=]\s*[\"']?)[^\s\"'&,;<>}}]+"),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(rf"(?i)(<(?:\w+:)?{_NAMES}>)[^<]*(</)"),
        rf"\1{HIDDEN}\2",
    ),
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without the given secrets, in any encoding, and without what looks like one."""
    for secret in sorted({s for s in secrets if len(s) >= _SHORTEST}, key=len, reverse=True):
        for form in {secret, quote(secret, safe=""), quote_plus(secret)}:
            text = text.replace(form, HIDDEN)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
