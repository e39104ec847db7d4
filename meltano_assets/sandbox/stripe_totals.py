"""What an invoice of Stripe's comes to: its lines, less their discounts, with their taxes.

Discounts are taken one after another, each from what the one before left; an amount is shared out over
the lines that it applies to. A tax that is included changes no total, one that is not is added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal

from meltano_assets.sandbox.company_sales import Record


def totalled(
    lines: Sequence[Record],
    known: Mapping[str, Record],
    discounts: Iterable[Record],
    default_rates: Sequence[Record],
) -> tuple[list[Record], Record]:
    """The lines with their discounts and taxes, and the fields of the invoice that follow from them."""
    left = [int(str(line["amount"])) for line in lines]
    cuts: list[list[Record]] = [[] for _ in lines]
    for place, line in enumerate(lines):
        for key in _records(line.get("discounts")):
            if own := known.get(str(key)):
                _take(own, [place], left, cuts, lines)
    for discount in discounts:
        _take(discount, range(len(lines)), left, cuts, lines)
    told, taxes, added = [], [], 0
    for line, rest, taken in zip(lines, left, cuts, strict=True):
        rates = _records(line.get("tax_rates")) or list(default_rates)
        amounts = [_tax(rate, rest) for rate in rates]
        included = sum(_int(tax["amount"]) for tax in amounts if tax["inclusive"])
        added += sum(_int(tax["amount"]) for tax in amounts if not tax["inclusive"])
        taxes += amounts
        told.append(
            {
                **line,
                "amount_excluding_tax": _int(line["amount"]) - included,
                "discount_amounts": taken,
                "tax_amounts": amounts,
            }
        )
    subtotal = sum(_int(line["amount"]) for line in lines)
    included = sum(_int(tax["amount"]) for tax in taxes if tax["inclusive"])
    off = _summed(cut for taken in cuts for cut in taken)
    total = subtotal - sum(_int(cut["amount"]) for cut in off) + added
    return told, {
        "subtotal": subtotal,
        "subtotal_excluding_tax": subtotal - included,
        "tax": added + included if taxes else None,
        "total": total,
        "total_discount_amounts": off,
        "total_excluding_tax": total - added - included,
        "total_tax_amounts": _summed(taxes),
    }


def _take(
    discount: Record,
    places: Iterable[int],
    left: list[int],
    cuts: list[list[Record]],
    lines: Sequence[Record],
) -> None:
    coupon = discount["coupon"]
    assert isinstance(coupon, dict)
    applies = coupon.get("applies_to")
    products = applies.get("products") if isinstance(applies, dict) else None
    fitting = [
        place for place in places
        if left[place] > 0 and lines[place].get("discountable", True)
        and (not products or _product(lines[place]) in products)
    ]  # fmt: skip
    if coupon["percent_off"] is not None:
        share = Decimal(str(coupon["percent_off"])) / 100
        amounts = [_rounded(left[place] * share) for place in fitting]
    else:
        amounts = _shared(_int(coupon["amount_off"]), [left[place] for place in fitting])
    for place, amount in zip(fitting, amounts, strict=True):
        left[place] -= amount
        cuts[place].append({"amount": amount, "discount": discount["id"]})


def _shared(amount: int, parts: Sequence[int]) -> list[int]:
    """So much of the amount for each part, in their proportion and no more than they are."""
    whole = sum(parts)
    amount, begun, shares = min(amount, whole), 0, []
    for end in range(1, len(parts) + 1):
        reached = _rounded(Decimal(amount) * sum(parts[:end]) / whole)
        shares.append(reached - begun)
        begun = reached
    return shares


def _tax(rate: Record, amount: int) -> Record:
    share = Decimal(str(rate["percentage"])) / 100
    inclusive = bool(rate["inclusive"])
    base = amount - _rounded(amount / (1 + share)) if inclusive else _rounded(amount * share)
    return {
        "amount": base,
        "inclusive": inclusive,
        "tax_rate": rate["id"],
        "taxability_reason": None,
        "taxable_amount": amount - base if inclusive else amount,
    }


def _summed(parts: Iterable[Record]) -> list[Record]:
    """One entry for each discount or tax rate."""
    sums: dict[object, Record] = {}
    for part in parts:
        key = part.get("discount") or part.get("tax_rate")
        known = sums.get(key)
        if known is None:
            sums[key] = dict(part)
            continue
        for name in ("amount", "taxable_amount"):
            if name in part:
                known[name] = _int(known[name]) + _int(part[name])
    return list(sums.values())


def _product(line: Record) -> object:
    price = line.get("price")
    return price.get("product") if isinstance(price, dict) else None


def _records(value: object) -> list[Record]:
    return value if isinstance(value, list) else []


def _int(value: object) -> int:
    return int(str(value))


def _rounded(value: Decimal) -> int:
    return int(value.quantize(Decimal(1), ROUND_HALF_UP))
