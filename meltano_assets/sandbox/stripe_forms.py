"""Parameters of Stripe's writes: forms with nested names, and the check of what each write takes.

A form says ``items[0][price]=…``, ``expand[]=…``, ``metadata[key]=…``. A shape says which names there
may be and of what kind; an empty text unsets a value and becomes None.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.stripe_wire import Problem

TEXT = "text"
INTEGER = "integer"
BOOLEAN = "boolean"
DECIMAL = "decimal"
METADATA = "metadata"
#: A value that is taken as it comes.
ANY = "any"
#: Name → kind: one of the above, the values that there may be, a shape, or a list of one kind.
Shape = Mapping[str, Any]
INTERVALS = ("day", "week", "month", "year")
TAX_BEHAVIORS = ("exclusive", "inclusive", "unspecified")
_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_FORM = "application/x-www-form-urlencoded"
MOST_AMOUNT, MOST_QUANTITY = 99_999_999_999, 999_999
_METADATA_KEYS, _METADATA_KEY, _METADATA_VALUE = 50, 40, 500
#: Currencies that Stripe takes; the first have no smaller unit.
_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
_DECIMAL = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bmd bnd bob brl bsd bwp byn bzd "
    "cad cdf chf cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl "
    "htg huf idr ils inr isk jmd jod kes kgs khr kwd kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt "
    "mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln qar ron rsd rub "
    "sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah uyu uzs wst xcd "
    "yer zar zmw"
)
ZERO_DECIMAL = frozenset(_ZERO_DECIMAL.split())
CURRENCIES = ZERO_DECIMAL | frozenset(_DECIMAL.split())


def read_form(query: str, content_type: str, body: bytes) -> dict[str, Any]:
    """The parameters of a write, nested as their names say; from its address and its body."""
    kind = content_type.partition(";")[0].strip().lower()
    if body.strip() and kind == "application/json":
        message = (
            "Invalid request (check that your POST content type is application/x-www-form-urlencoded). "
            "If you have any questions, we can help at https://support.stripe.com/."
        )
        raise Problem(400, message)
    pairs = parse_qsl(query, keep_blank_values=True)
    if kind in ("", _FORM):
        pairs += parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return nested(pairs)


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Values by nested names; numbered ones as lists."""
    tree: dict[str, Any] = {}
    for name, value in pairs:
        found = _NAME.fullmatch(name)
        if found is None:
            raise _unknown(name)
        steps = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
        place = tree
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            at = _position(place, step, following)
            if following is None:
                place[at] = value
                break
            place = place.setdefault(at, {})
            if not isinstance(place, dict):
                raise Problem(400, f"Invalid object: {found[1]}", None, found[1])
    return {name: _listed(value) for name, value in tree.items()}


def _position(place: dict[str, Any], step: str, following: str | None) -> str:
    """The name inside the tree; ``[]`` is the entry before while that lacks the name that follows."""
    if step != "":
        return step
    last = place.get(str(len(place) - 1))
    has_room = isinstance(last, dict) and following and following not in last
    return str(len(place) - 1 if has_room else len(place))


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _listed(entry) for name, entry in value.items()}
    if inner and all(is_number(name) for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def checked(given: Mapping[str, Any], shape: Shape, *required: str) -> dict[str, Any]:
    """The parameters with values of their kinds; a Problem for what Stripe refuses."""
    params = {
        name: _value(name, name, value, _kind(shape, name, name))
        for name, value in given.items()
        if name != "expand"
    }
    for name in required:
        if name not in params:
            raise required_problem(name)
        if params[name] is None:
            message = (
                f"You passed an empty string for '{name}'. We assume empty values are an attempt to "
                f"unset a parameter; however '{name}' cannot be unset. You should remove '{name}' "
                "from your request or supply a non-empty value."
            )
            raise Problem(400, message, "parameter_invalid_empty", name)
    return params


def required_problem(name: str) -> Problem:
    """A parameter that must be there."""
    return Problem(400, f"Missing required param: {name}.", "parameter_missing", name)


def _kind(shape: Shape, name: str, path: str) -> Any:
    if name not in shape:
        raise _unknown(path)
    return shape[name]


def _unknown(path: str) -> Problem:
    return Problem(400, f"Received unknown parameter: {path}", "parameter_unknown", path)


def _value(name: str, path: str, value: Any, kind: Any) -> Any:
    if isinstance(kind, Mapping):
        if value == "":
            return None
        if not isinstance(value, Mapping):
            raise Problem(400, "Invalid object", None, path)
        return {
            inner: _value(inner, f"{path}[{inner}]", entry, _kind(kind, inner, f"{path}[{inner}]"))
            for inner, entry in value.items()
        }
    if isinstance(kind, list):
        if value == "":
            return []
        if not isinstance(value, list):
            raise Problem(400, "Invalid array", None, path)
        return [
            _value(name, f"{path}[{place}]", entry, kind[0]) for place, entry in enumerate(value)
        ]
    if kind == ANY:
        return value
    if kind == METADATA:
        return _metadata(path, value)
    if not isinstance(value, str):
        raise Problem(400, f"Invalid string: {value}", None, path)
    if value == "":
        return None
    if kind == INTEGER:
        if not re.fullmatch(r"-?\d{1,18}", value):
            raise Problem(400, f"Invalid integer: {value}", "parameter_invalid_integer", path)
        return _within(name, path, int(value))
    if kind == DECIMAL:
        if not re.fullmatch(r"-?\d{1,15}(\.\d{1,12})?", value):
            raise Problem(400, f"Invalid decimal: {value}", None, path)
        return float(value)
    if kind == BOOLEAN:
        # Older official clients write a boolean of Python as it is.
        if value.lower() not in ("true", "false"):
            raise Problem(400, f"Invalid boolean: {value}", None, path)
        return value.lower() == "true"
    if isinstance(kind, tuple) and value not in kind:
        values = f"{', '.join(kind[:-1])}, or {kind[-1]}" if len(kind) > 1 else kind[0]
        raise Problem(400, f"Invalid {name}: must be one of {values}", None, path)
    if name == "currency" and value.lower() not in CURRENCIES:
        every = ", ".join(_DECIMAL.split() + _ZERO_DECIMAL.split())
        message = f"Invalid currency: {value}. Stripe currently supports these currencies: {every}"
        raise Problem(400, message, None, path)
    if name == "email" and not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise Problem(400, f"Invalid email address: {value}", "email_invalid", path)
    return value.lower() if name == "currency" else value


def _within(name: str, path: str, number: int) -> int:
    """Amounts have eleven digits at most, quantities six; so that whatever is summed up stays a number."""
    most = MOST_AMOUNT if name == "balance" or "amount" in name else None
    least = -MOST_AMOUNT
    if name == "quantity":
        least, most = 0, MOST_QUANTITY
    if most is not None and not least <= number <= most:
        if number < 0 <= least:
            message = f"Invalid non-negative integer: {number}"
        else:
            message = f"Invalid integer: {number} must be no more than {most}"
        raise Problem(400, message, "parameter_invalid_integer", path)
    return number


def _metadata(path: str, value: Any) -> dict[str, str] | None:
    if value == "":
        return None
    if isinstance(value, list):
        # Keys that are numbers.
        value = {str(place): entry for place, entry in enumerate(value)}
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise Problem(400, "Invalid object", None, path)
    for key, text in value.items():
        if len(key) > _METADATA_KEY:
            message = (
                f"Metadata keys can have up to {_METADATA_KEY} characters; you passed in a key that "
                f"is {len(key)} characters. Key: {key}"
            )
            raise Problem(400, message, None, path)
        if len(text) > _METADATA_VALUE:
            message = (
                f"Metadata values can have up to {_METADATA_VALUE} characters; you passed in a value "
                f"that is {len(text)} characters. Value: {text}"
            )
            raise Problem(400, message, None, f"{path}[{key}]")
    return dict(value)


def merged_metadata(known: object, given: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata after a change: given keys replace, empty values remove, an empty text removes all."""
    if given is None:
        return {}
    merged = {**(known if isinstance(known, dict) else {}), **given}
    kept = {name: value for name, value in merged.items() if value != ""}
    if len(kept) > _METADATA_KEYS:
        message = (
            f"Metadata can have up to {_METADATA_KEYS} keys; this object would have {len(kept)}."
        )
        raise Problem(400, message, None, "metadata")
    return kept


def texts(names: str) -> dict[str, Any]:
    """A shape of texts."""
    return dict.fromkeys(names.split(), TEXT)
