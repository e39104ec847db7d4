"""What clients write to Stripe about price cuts: coupons, promotion codes and the discounts they give.

A discount hangs on a customer, a subscription, an invoice or one of its items. A subscription's own
come before its customer's. One that holds once is gone with the bill that it cut; one for some months
ends by the company's clock. The company's own bills know no discounts.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.stripe_books import Books, items_of
from meltano_assets.sandbox.stripe_forms import (
    BOOLEAN,
    DECIMAL,
    INTEGER,
    METADATA,
    TEXT,
    Shape,
    checked,
    merged_metadata,
    required_problem,
    texts,
)
from meltano_assets.sandbox.stripe_periods import period_end
from meltano_assets.sandbox.stripe_wire import Problem, existing, missing

#: What a customer, subscription, invoice or item is given to cut its price.
GIVEN: Shape = texts("coupon discount promotion_code")
_COUPON: Shape = {**texts("name"), "currency_options": {}, "metadata": METADATA}
_NEW_COUPON: Shape = {
    **texts("id name currency"),
    "amount_off": INTEGER,
    "applies_to": {"products": [TEXT]},
    "currency_options": {},
    "duration": ("forever", "once", "repeating"),
    "duration_in_months": INTEGER,
    "max_redemptions": INTEGER,
    "metadata": METADATA,
    "percent_off": DECIMAL,
    "redeem_by": INTEGER,
}
_RESTRICTIONS: Shape = {
    "first_time_transaction": BOOLEAN,
    "minimum_amount": INTEGER,
    "minimum_amount_currency": TEXT,
}
_CODE: Shape = {"active": BOOLEAN, "metadata": METADATA, "restrictions": {"currency_options": {}}}
_NEW_CODE: Shape = {
    **texts("code coupon customer"),
    "active": BOOLEAN,
    "expires_at": INTEGER,
    "max_redemptions": INTEGER,
    "metadata": METADATA,
    "promotion": {"coupon": TEXT, "type": ("coupon",)},
    "restrictions": _RESTRICTIONS,
}
_MOST_MONTHS = 1_200
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


class Discounts:
    """Keeps coupons and promotion codes, and gives discounts by them."""

    def __init__(self, books: Books) -> None:
        self._books = books

    def deed(
        self, method: str, parts: list[str], given: Mapping[str, Any]
    ) -> Callable[[], Record] | None:
        """What is to be done, its parameters checked; None where there is no such path."""
        match method, parts:
            case "POST", ["coupons"]:
                params = checked(given, _NEW_COUPON)
                return lambda: self._new_coupon(params)
            case "POST", ["coupons", key]:
                params = checked(given, _COUPON)
                return lambda: self._change(self._one("coupon", key), params)
            case "DELETE", ["coupons", key]:
                checked(given, {})
                return lambda: self._delete_coupon(self._one("coupon", key))
            case "POST", ["promotion_codes"]:
                params = checked(given, _NEW_CODE)
                return lambda: self._new_code(params)
            case "POST", ["promotion_codes", key]:
                params = checked(given, _CODE)
                return lambda: self._change(self._one("promotion_code", key), params)
            case "DELETE", ["customers" | "subscriptions" as name, key, "discount"]:
                checked(given, {})
                return lambda: self._withdraw(self._one(name.removesuffix("s"), key))
        return None

    def catch_up(self) -> bool:
        """Coupons and codes whose time has passed; whether there were any."""
        present, has_done = self._books.stamp(), False
        for kind, end, flag in (
            ("coupon", "redeem_by", "valid"),
            ("promotion_code", "expires_at", "active"),
        ):
            for record in self._books.own(kind):
                if record[flag] and record[end] is not None and _int(record[end]) <= present:
                    self._books.change(None, record, **{flag: False})
                    has_done = True
        return has_done

    def _one(self, kind: str, key: str) -> Record:
        return existing(self._books, kind, key)

    # Coupons and codes

    def _new_coupon(self, params: dict[str, Any]) -> Record:
        key = params.get("id") or "".join(secrets.choice(_LETTERS) for _ in range(8))
        if key in self._books.live("coupon"):
            raise Problem(400, "Coupon already exists.", "resource_already_exists", "id")
        percent, amount = params.get("percent_off"), params.get("amount_off")
        if (percent is None) == (amount is None):
            message = "You must pass exactly one of percent_off and amount_off."
            raise Problem(400, message, "parameter_missing" if percent is None else None)
        if percent is not None and not 0 < percent <= 100:
            message = "Invalid percent_off: must be greater than 0 and at most 100"
            raise Problem(400, message, None, "percent_off")
        if amount is not None and amount < 1:
            message = f"Invalid positive integer: {amount}"
            raise Problem(400, message, "parameter_invalid_integer", "amount_off")
        if amount is not None and not params.get("currency"):
            raise required_problem("currency")
        duration, months = params.get("duration") or "once", params.get("duration_in_months")
        if duration == "repeating" and months is None:
            raise required_problem("duration_in_months")
        if duration != "repeating" and months is not None:
            message = "You can only set duration_in_months when the duration is `repeating`."
            raise Problem(400, message, None, "duration_in_months")
        for name in ("duration_in_months", "max_redemptions"):
            if params.get(name) is not None and params[name] < 1:
                message = f"Invalid positive integer: {params[name]}"
                raise Problem(400, message, "parameter_invalid_integer", name)
        if months is not None and months > _MOST_MONTHS:
            message = f"Invalid duration_in_months: must be at most {_MOST_MONTHS}"
            raise Problem(400, message, None, "duration_in_months")
        self._check_future(params, "redeem_by")
        for product in (params.get("applies_to") or {}).get("products") or ():
            existing(self._books, "product", product, "applies_to[products]")
        coupon: Record = {
            "id": key,
            "object": "coupon",
            "amount_off": amount,
            "created": self._books.stamp(),
            "currency": params.get("currency") if amount is not None else None,
            "duration": duration,
            "duration_in_months": months,
            "livemode": False,
            "max_redemptions": params.get("max_redemptions"),
            "metadata": merged_metadata({}, params.get("metadata") or {}),
            "name": params.get("name"),
            "percent_off": percent,
            "redeem_by": params.get("redeem_by"),
            "times_redeemed": 0,
            "valid": True,
        }
        if applies := params.get("applies_to"):
            coupon["applies_to"] = applies
        return self._books.put("coupon.created", coupon)

    def _check_future(self, params: Mapping[str, Any], name: str) -> None:
        if params.get(name) is not None and params[name] <= self._books.stamp():
            message = "Invalid timestamp: must be an integer Unix timestamp in the future."
            raise Problem(400, message, None, name)

    def _change(self, record: Record, params: dict[str, Any]) -> Record:
        kept = ("active", "name")
        fields: Record = {name: params[name] for name in kept if name in params}
        if "metadata" in params:
            fields["metadata"] = merged_metadata(record["metadata"], params["metadata"])
        if fields.get("active"):
            coupon = record["coupon"]
            assert isinstance(coupon, dict)
            self._check_valid(self._one("coupon", str(coupon["id"])), "active")
        return self._books.change(f"{record['object']}.updated", record, **fields)

    def _delete_coupon(self, coupon: Record) -> Record:
        self._books.delete("coupon.deleted", coupon)
        for code in self._books.own("promotion_code"):
            of = code["coupon"]
            if isinstance(of, dict) and of["id"] == coupon["id"] and code["active"]:
                self._books.change("promotion_code.updated", code, active=False)
        return {"id": coupon["id"], "object": "coupon", "deleted": True}

    def _new_code(self, params: dict[str, Any]) -> Record:
        name = params.get("coupon") or (params.get("promotion") or {}).get("coupon")
        if not name:
            raise required_problem("coupon")
        coupon = existing(self._books, "coupon", name, "coupon")
        self._check_valid(coupon, "coupon")
        if key := params.get("customer"):
            existing(self._books, "customer", key, "customer")
        self._check_future(params, "expires_at")
        code = params.get("code") or "".join(secrets.choice(_LETTERS) for _ in range(8))
        for other in self._books.live("promotion_code").values():
            is_same = str(other["code"]).lower() == code.lower() and other["active"]
            if is_same and other["customer"] == params.get("customer"):
                message = f"An active promotion code with `code: {code}` already exists."
                raise Problem(400, message, "resource_already_exists", "code")
        restrictions = {
            "first_time_transaction": False,
            "minimum_amount": None,
            "minimum_amount_currency": None,
            **(params.get("restrictions") or {}),
        }
        if (restrictions["minimum_amount"] is None) != (
            restrictions["minimum_amount_currency"] is None
        ):
            raise required_problem("restrictions[minimum_amount_currency]")
        return self._books.put(
            "promotion_code.created",
            {
                "id": self._books.new_id("promo"),
                "object": "promotion_code",
                "active": params.get("active", True),
                "code": code,
                "coupon": coupon,
                "created": self._books.stamp(),
                "customer": params.get("customer"),
                "expires_at": params.get("expires_at"),
                "livemode": False,
                "max_redemptions": params.get("max_redemptions"),
                "metadata": merged_metadata({}, params.get("metadata") or {}),
                "restrictions": restrictions,
                "times_redeemed": 0,
            },
        )

    # Discounts

    def of_customer(self, params: Mapping[str, Any], customer: Record) -> Record:
        """The customer's fields after the coupon or code of a write; an empty one ends the discount."""
        given = {name: params[name] for name in ("coupon", "promotion_code") if name in params}
        if not given:
            return {}
        if not any(given.values()):
            return {"discount": None}
        discount = self._redeemed(given, "", customer=customer["id"])
        return {"discount": discount}

    def of_subscription(self, params: Mapping[str, Any], subscription: Record) -> Record:
        """The subscription's fields after the coupons or codes of a write."""
        if "discounts" in params:
            entries = [(e, f"discounts[{n}]") for n, e in enumerate(params["discounts"] or [])]
        elif params.keys() & {"coupon", "promotion_code"}:
            entries = [(dict(params), "")]
        else:
            return {}
        made = [
            self._redeemed(
                entry, path, customer=subscription["customer"], subscription=subscription["id"]
            )
            for entry, path in entries
            if any(entry.get(name) for name in GIVEN)
        ]
        return {"discounts": [d["id"] for d in made], "discount": made[0] if made else None}

    def of_invoice(self, params: Mapping[str, Any], customer: Record, invoice: str) -> Record:
        """The fields of a new bill: its own discounts, else the subscription's, else the customer's."""
        if "discounts" in params:
            return self.given_to_invoice(params, {"customer": customer["id"], "id": invoice})
        owner = self._books.live("subscription").get(str(params.get("subscription")), {})
        found = [self._books.live("discount").get(str(k)) for k in items_of(owner.get("discounts"))]
        held = [d for d in found if d is not None and self._is_on(d)]
        if not held and isinstance(own := customer["discount"], dict) and self._is_on(own):
            held = [own]
        return {"discounts": [d["id"] for d in held], "discount": held[0] if held else None}

    def given_to_invoice(self, params: Mapping[str, Any], invoice: Record) -> Record:
        """The fields of a draft after the discounts of a write."""
        if "discounts" not in params:
            return {}
        made = [
            self._redeemed(
                entry, f"discounts[{n}]", customer=invoice["customer"], invoice=invoice["id"]
            )
            for n, entry in enumerate(params["discounts"] or [])
        ]
        return {"discounts": [d["id"] for d in made], "discount": made[0] if made else None}

    def given_to_item(self, params: Mapping[str, Any], item: Record) -> list[Record]:
        """The discounts of one item alone."""
        return [
            self._redeemed(
                entry, f"discounts[{n}]", customer=item["customer"], invoice_item=item["id"]
            )
            for n, entry in enumerate(params.get("discounts") or [])
        ]

    def known(self, keys: object) -> list[Record]:
        """The discounts of these ids."""
        found = (self._books.live("discount").get(str(key)) for key in items_of(keys))
        return [discount for discount in found if discount is not None]

    def used(self, invoice: Record) -> None:
        """A bill is final: what held for one bill is over."""
        for discount in self.known(invoice["discounts"]):
            coupon = discount["coupon"]
            if not isinstance(coupon, dict) or coupon["duration"] != "once":
                continue
            if key := discount["subscription"]:
                owner = self._books.live("subscription").get(str(key))
            else:
                owner = self._books.live("customer").get(str(discount["customer"]))
            if owner is not None and discount["invoice"] is None:
                self._end(owner, discount)

    def _is_on(self, discount: Record) -> bool:
        return discount["end"] is None or _int(discount["end"]) > self._books.stamp()

    def _withdraw(self, owner: Record) -> Record:
        discount = owner.get("discount")
        if not isinstance(discount, dict):
            message = f"No active discount for {owner['object']}: {owner['id']}"
            raise Problem(404, message, "resource_missing")
        self._end(owner, discount)
        return {**discount, "deleted": True}

    def _end(self, owner: Record, discount: Record) -> None:
        rest = [key for key in items_of(owner.get("discounts")) if key != discount["id"]]
        fields: Record = {"discount": None}
        if owner["object"] == "subscription":
            known = self.known(rest)
            fields = {"discount": known[0] if known else None, "discounts": rest}
        elif owner["discount"] != discount:
            return
        self._books.change(None, owner, **fields)
        self._books.put("customer.discount.deleted", discount)

    def _redeemed(self, given: Mapping[str, Any], path: str, **owner: object) -> Record:
        """A discount by what was given."""
        if key := given.get("discount"):
            return existing(self._books, "discount", key, _inner(path, "discount"))
        code, coupon = None, None
        if key := given.get("promotion_code"):
            name = _inner(path, "promotion_code")
            code = self._books.live("promotion_code").get(key)
            if code is None:
                raise missing("promotion code", key, name)
            self._check_code(code, owner, name)
            of = code["coupon"]
            assert isinstance(of, dict)
            coupon = existing(self._books, "coupon", str(of["id"]), name)
        elif key := given.get("coupon"):
            coupon = existing(self._books, "coupon", key, _inner(path, "coupon"))
        if coupon is None:
            raise required_problem(_inner(path, "coupon"))
        self._check_valid(coupon, _inner(path, "promotion_code" if code else "coupon"))
        stamp = self._books.stamp()
        end = None
        if coupon["duration"] == "repeating":
            end = period_end(stamp, stamp, ("month", _int(coupon["duration_in_months"])))
        for used, flag in ((coupon, "valid"), (code, "active")):
            if used is not None:
                times = _int(used["times_redeemed"]) + 1
                most = used["max_redemptions"]
                fields: Record = {"times_redeemed": times}
                if most is not None and times >= _int(most):
                    fields[flag] = False
                self._books.change(None, used, **fields)
        return self._books.put(
            None if "invoice" in owner or "invoice_item" in owner else "customer.discount.created",
            {
                "id": self._books.new_id("di"),
                "object": "discount",
                "checkout_session": None,
                "coupon": existing(self._books, "coupon", str(coupon["id"])),
                "customer": None,
                "end": end,
                "invoice": None,
                "invoice_item": None,
                "promotion_code": code["id"] if code else None,
                "start": stamp,
                "subscription": None,
                **owner,
            },
        )

    def _check_valid(self, coupon: Record, param: str) -> None:
        if not coupon["valid"]:
            message = f"Coupon expired: {coupon['id']}"
            raise Problem(400, message, "coupon_expired", param)

    def _check_code(self, code: Record, owner: Mapping[str, object], param: str) -> None:
        if not code["active"]:
            message = "This promotion code is not active or has expired."
            raise Problem(400, message, None, param)
        customer = owner.get("customer")
        if code["customer"] not in (None, customer):
            message = "This promotion code is limited to another customer."
            raise Problem(400, message, None, param)
        restrictions = code["restrictions"]
        assert isinstance(restrictions, dict)
        if restrictions["first_time_transaction"] and any(
            c["customer"] == customer and c["status"] == "succeeded"
            for c in self._books.live("charge").values()
        ):
            message = (
                "This promotion code cannot be redeemed because the associated customer has prior "
                "transactions."
            )
            raise Problem(400, message, "promotion_code_customer_not_first_time", param)


def _inner(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _int(value: object) -> int:
    return int(str(value))
