"""Subscriptions that clients begin and change, by the subscription calls and by orders.

Every change is a new version of the subscription with rate plans and charges of its own and an amendment
that tells of it; the version before expires. A charge that changes has a new segment from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_asked import date_in, decimal_of, rows_in, whole_in
from meltano_assets.sandbox.zuora_objects import find, name_of
from meltano_assets.sandbox.zuora_periods import after, price_months
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_writes import Accounts, Refused, missing

#: Order action → the type of its amendment.
_AMENDMENTS = {
    "AddProduct": "NewProduct", "RemoveProduct": "RemoveProduct", "UpdateProduct": "UpdateProduct",
    "RenewSubscription": "Renewal", "CancelSubscription": "Cancellation",
    "TermsAndConditions": "TermsAndConditions",
}  # fmt: skip
#: Lists in which a request names a plan's charges with another price or quantity.
_OVERRIDES = ("chargeOverrides", "chargeUpdateDetails", "chargeUpdates")


class Subscriptions:
    """The tenant's subscriptions."""

    def __init__(
        self, tenant: TenantRecords, accounts: Accounts, shown: Callable[[object], object]
    ) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._shown = shown

    # Reading

    def known(self, key: str, version: int | None = None) -> Record:
        """The subscription of that id or number; by number the latest version or the one asked for."""
        found = find(self._tenant, "Subscription", key)
        if found is not None and version is not None:
            same = (r for r in self._tenant.rows("Subscription") if r["Name"] == found["Name"])
            found = next((r for r in same if r["Version"] == version), None)
        if found is None:
            raise missing("subscription", key)
        return found

    def of_account(self, key: str) -> list[Record]:
        """The latest versions of an account's subscriptions."""
        account = self._accounts.known(key)
        return [each for each in self.latest() if each["AccountId"] == account["Id"]]

    def latest(self) -> list[Record]:
        """The latest versions of all subscriptions."""
        latest: dict[object, Record] = {}
        for record in self._tenant.rows("Subscription"):
            known = latest.get(record["Name"])
            if known is None or int(str(record["Version"])) > int(str(known["Version"])):
                latest[record["Name"]] = record
        return list(latest.values())

    def show(self, record: Record) -> Record:
        """A subscription as the calls tell it, with its rate plans and charges."""
        account = self._tenant.find("Account", record["AccountId"]) or {}
        kept = [p for p in self._plans(record) if p.get("AmendmentType") != "RemoveProduct"]
        plans = [self._plan(plan) for plan in kept]
        charges = [charge for plan in kept for charge in self._last_segments(plan)]
        told = {
            name_of("", name): self._shown(value)
            for name, value in record.items()
            if value is not None and name not in ("Name", "InvoiceOwnerId", "IsInvoiceSeparate")
        }
        names = [r for r in self._tenant.rows("Subscription") if r["Name"] == record["Name"]]
        return {
            **told,
            "subscriptionNumber": record["Name"],
            "accountName": account.get("Name"),
            "accountNumber": account.get("AccountNumber"),
            "currency": account.get("Currency"),
            "invoiceOwnerAccountId": record.get("InvoiceOwnerId"),
            "invoiceSeparately": bool(record.get("IsInvoiceSeparate")),
            "customerAcceptanceDate": self._shown(record["ContractAcceptanceDate"])
            if record.get("ContractAcceptanceDate")
            else None,
            "contractedMrr": float(sum((decimal_of(c.get("MRR")) for c in charges), Decimal(0))),
            "totalContractedValue": float(sum((decimal_of(c.get("TCV")) for c in charges), Decimal(0))),
            "isLatestVersion": all(int(str(r["Version"])) <= int(str(record["Version"])) for r in names),
            "ratePlans": plans,
        }  # fmt: skip

    def _plans(self, record: Record) -> list[Record]:
        return [r for r in self._tenant.rows("RatePlan") if r["SubscriptionId"] == record["Id"]]

    def _charges(self, plan: Record) -> list[Record]:
        return [r for r in self._tenant.rows("RatePlanCharge") if r["RatePlanId"] == plan["Id"]]

    def _last_segments(self, plan: Record) -> list[Record]:
        return [
            charge for charge in self._charges(plan) if charge.get("IsLastSegment") is not False
        ]

    def _plan(self, plan: Record) -> Record:
        product = self._tenant.find("Product", plan.get("ProductId")) or {}
        return {
            "id": plan["Id"],
            "productId": plan.get("ProductId"),
            "productName": product.get("Name"),
            "productSku": product.get("SKU"),
            "productRatePlanId": plan.get("ProductRatePlanId"),
            "ratePlanName": plan["Name"],
            "ratePlanCharges": [self._charge(charge) for charge in self._last_segments(plan)],
        }

    def _charge(self, charge: Record) -> Record:
        tier = self.tier(charge)
        return {
            "id": charge["Id"],
            "originalChargeId": charge.get("OriginalId"),
            "productRatePlanChargeId": charge.get("ProductRatePlanChargeId"),
            "number": charge.get("ChargeNumber"),
            "name": charge.get("Name"),
            "type": charge.get("ChargeType"),
            "uom": charge.get("UOM"),
            "quantity": float(decimal_of(charge.get("Quantity"))),
            "price": float(decimal_of(tier.get("Price")))
            if tier.get("Price") is not None
            else None,
            "currency": tier.get("Currency"),
            "mrr": float(decimal_of(charge.get("MRR"))),
            "tcv": float(decimal_of(charge.get("TCV"))),
            "effectiveStartDate": _text(charge.get("EffectiveStartDate")),
            "effectiveEndDate": _text(charge.get("EffectiveEndDate")),
            "chargedThroughDate": _text(charge.get("ChargedThroughDate")),
            "processedThroughDate": _text(charge.get("ProcessedThroughDate")),
            "segment": charge.get("Segment"),
            "version": charge.get("Version"),
        }

    # Writing

    def begin(self, account: Record, told: Mapping[str, object]) -> Record:
        """A new subscription; ``told`` is a request of the subscription call."""
        self.check(told)
        start = date_in(told, "contractEffectiveDate", self._tenant.now().date())
        kind = str(told.get("termType") or "TERMED")
        number = str(told.get("subscriptionNumber") or self._tenant.number("A-S"))
        term = whole_in(told, "initialTerm", 12)
        period = str(told.get("initialTermPeriodType") or "Month")
        term_start = date_in(told, "termStartDate", start)
        end = after(term_start, term, period) if kind == "TERMED" else None
        record = self._tenant.create(
            "Subscription",
            {
                "Name": number, "AccountId": account["Id"], "InvoiceOwnerId": account["Id"],
                "CreatorAccountId": account["Id"], "CreatorInvoiceOwnerId": account["Id"],
                "Version": 1, "Status": "Active", "TermType": kind, "Notes": told.get("notes"),
                "InitialTerm": term, "InitialTermPeriodType": period,
                "CurrentTerm": term, "CurrentTermPeriodType": period,
                "RenewalTerm": whole_in(told, "renewalTerm", term),
                "RenewalTermPeriodType": str(told.get("renewalTermPeriodType") or period),
                "RenewalSetting": str(told.get("renewalSetting") or "RENEW_WITH_SPECIFIC_TERM"),
                "AutoRenew": bool(told.get("autoRenew")), "IsInvoiceSeparate": bool(told.get("invoiceSeparately")),
                "TermStartDate": term_start, "TermEndDate": end, "SubscriptionStartDate": start,
                "SubscriptionEndDate": end, "ContractEffectiveDate": start,
                "ContractAcceptanceDate": date_in(told, "customerAcceptanceDate", start),
                "ServiceActivationDate": date_in(told, "serviceActivationDate", start),
                "OriginalCreatedDate": self._tenant.now(),
            },
        )  # fmt: skip
        record = self._tenant.update(
            "Subscription", str(record["Id"]), {"OriginalId": record["Id"]}
        )
        for plan in rows_in(told, "subscribeToRatePlans"):
            self._add_plan(record, plan, start)
        return record

    def check(self, told: Mapping[str, object]) -> None:
        """Refuse what cannot be begun."""
        plans = rows_in(told, "subscribeToRatePlans")
        if not plans:
            raise Refused(53200020, "'subscribeToRatePlans' may not be empty")
        kind, number = str(told.get("termType") or "TERMED"), told.get("subscriptionNumber")
        if kind not in ("TERMED", "EVERGREEN"):
            raise Refused(53200020, f"The termType value {kind} is invalid")
        if number and find(self._tenant, "Subscription", str(number)) is not None:
            raise Refused(53200022, f"The subscription number {number} already exists.")
        today = self._tenant.now().date()
        for name in (
            "contractEffectiveDate", "termStartDate", "customerAcceptanceDate", "serviceActivationDate",
        ):  # fmt: skip
            date_in(told, name, today)
        for name in ("initialTerm", "renewalTerm"):
            whole_in(told, name, 1)
        for plan in plans:
            self._product_plan(plan)
            _check_amounts(plan)

    def _product_plan(self, told: Record) -> Record:
        key = told.get("productRatePlanId") or told.get("productRatePlanNumber")
        found = self._tenant.find("ProductRatePlan", key)
        if found is None or found.get("Deleted"):
            raise Refused(53200040, f"Cannot find the product rate plan {key}")
        return found

    def _add_plan(self, record: Record, told: Record, start: date) -> None:
        product_plan = self._product_plan(told)
        plan = self._tenant.create(
            "RatePlan",
            {
                "Name": product_plan["Name"], "SubscriptionId": record["Id"],
                "ProductId": product_plan["ProductId"], "ProductRatePlanId": product_plan["Id"],
            },
        )  # fmt: skip
        overrides = {
            str(each.get("productRatePlanChargeId")): each
            for name in _OVERRIDES
            for each in rows_in(told, name)
        }
        account = self._tenant.find("Account", record["AccountId"]) or {}
        for charge in self._tenant.rows("ProductRatePlanCharge"):
            if charge["ProductRatePlanId"] == product_plan["Id"]:
                override = overrides.get(str(charge["Id"]), {})
                self._add_charge(
                    record, plan, charge, override, str(account.get("Currency")), start
                )

    def _add_charge(
        self, record: Record, plan: Record, product: Record, override: Record, currency: str, start: date
    ) -> None:  # fmt: skip
        tiers = [
            t for t in self._tenant.rows("ProductRatePlanChargeTier")
            if t["ProductRatePlanChargeId"] == product["Id"]
        ]  # fmt: skip
        tier = next((t for t in tiers if t["Currency"] == currency), tiers[0] if tiers else {})
        pricing = _nested(override)
        price = decimal_of(pricing.get("price", pricing.get("listPrice", tier.get("Price"))))
        quantity = decimal_of(pricing.get("quantity", product.get("DefaultQuantity") or 1))
        copied = (
            "ChargeModel", "ChargeType", "BillingPeriod", "BillingPeriodAlignment", "BillCycleType",
            "AccountingCode", "ListPriceBase", "RevenueRecognitionRuleName", "TriggerEvent", "UOM", "Name",
        )  # fmt: skip
        charge = self._tenant.create(
            "RatePlanCharge",
            {
                **{name: product.get(name) for name in copied},
                "RatePlanId": plan["Id"], "ProductRatePlanChargeId": product["Id"],
                "ChargeNumber": self._tenant.number("C-"), "Segment": 1, "Version": 1,
                "IsLastSegment": True, "EndDateCondition": "SubscriptionEnd",
                "EffectiveStartDate": start, "EffectiveEndDate": record.get("TermEndDate"),
                "TriggerDate": start, **_money(product, record, quantity, price, start),
            },
        )  # fmt: skip
        self._tenant.update("RatePlanCharge", str(charge["Id"]), {"OriginalId": charge["Id"]})
        self._tenant.create(
            "RatePlanChargeTier",
            {
                "RatePlanChargeId": charge["Id"], "Currency": currency, "Price": price, "Tier": 1,
                "PriceFormat": tier.get("PriceFormat") or "Per Unit",
            },
        )  # fmt: skip

    def change(self, key: str, action: str, told: Mapping[str, object]) -> Record:
        """A new version of a subscription after an order action."""
        before = self.known(key)
        if before["Status"] not in ("Active", "Suspended"):
            raise Refused(53200030, f"The subscription {before['Name']} is {before['Status']}")
        if action not in _AMENDMENTS:
            raise Refused(53200020, f"The order action {action} is not supported here")
        effective = date_in(told, "contractEffectiveDate", self._tenant.now().date())
        plan_key = str(told.get("ratePlanId") or told.get("newRatePlanId") or "")
        chosen = next((p for p in self._plans(before) if p["Id"] == plan_key), None)
        if action in ("RemoveProduct", "UpdateProduct") and chosen is None:
            raise Refused(53200040, f"Cannot find the rate plan {plan_key}")
        if action == "AddProduct":
            self._product_plan(dict(told))
        _check_amounts(told)
        version = int(str(before["Version"])) + 1
        changed = self._changed(before, action, told, effective)
        link: Record = {"Version": version, "PreviousSubscriptionId": before["Id"]}
        after = self._tenant.create("Subscription", {**_own(before), **changed, **link})
        self._tenant.update("Subscription", str(before["Id"]), {"Status": "Expired"})
        for plan in self._plans(before):
            is_chosen = plan["Id"] == plan_key
            copied = self._copy_plan(after, plan, before)
            if action == "UpdateProduct" and is_chosen:
                self._update_plan(after, copied, plan, dict(told), effective)
            elif action == "RemoveProduct" and is_chosen:
                self._tenant.update("RatePlan", str(copied["Id"]), {"AmendmentType": action})
                self._end_plan(copied, effective)
            elif action == "CancelSubscription":
                self._end_plan(copied, after["CancelledDate"])
        if action == "AddProduct":
            self._add_plan(after, dict(told), effective)
        self._tenant.create(
            "Amendment",
            {
                "Name": f"Amendment {version - 1}", "Code": self._tenant.number("AM-"),
                "SubscriptionId": before["Id"], "Type": _AMENDMENTS[action], "Status": "Completed",
                "ContractEffectiveDate": effective, "CustomerAcceptanceDate": effective,
                "EffectiveDate": effective, "ServiceActivationDate": effective,
            },
        )  # fmt: skip
        return after

    def _changed(
        self, before: Record, action: str, told: Mapping[str, object], effective: date
    ) -> Record:
        end = before.get("TermEndDate")
        if action == "RenewSubscription":
            if not isinstance(end, date):
                raise Refused(53200030, "An evergreen subscription cannot be renewed")
            term, period = int(str(before["RenewalTerm"])), str(before["RenewalTermPeriodType"])
            until = after(end, term, period)
            return {
                "CurrentTerm": term, "CurrentTermPeriodType": period, "TermStartDate": end,
                "TermEndDate": until, "SubscriptionEndDate": until,
            }  # fmt: skip
        if action == "CancelSubscription":
            policy = str(told.get("cancellationPolicy") or "SpecificDate")
            if policy not in ("EndOfCurrentTerm", "EndOfLastInvoicePeriod", "SpecificDate"):
                raise Refused(53200020, f"The cancellationPolicy {policy} is invalid")
            at = date_in(told, "cancellationEffectiveDate", effective)
            if policy == "EndOfCurrentTerm" and isinstance(end, date):
                at = end
            elif policy == "EndOfLastInvoicePeriod":
                at = max([at, *self._billed_until(before)])
            return {"Status": "Cancelled", "CancelledDate": at, "SubscriptionEndDate": at}
        fields: Record = {}
        for name, field in (
            ("autoRenew", "AutoRenew"), ("notes", "Notes"), ("renewalSetting", "RenewalSetting"),
            ("renewalTerm", "RenewalTerm"),
        ):  # fmt: skip
            if name in told and action == "TermsAndConditions":
                fields[field] = told[name]
        if "RenewalTerm" in fields:
            fields["RenewalTerm"] = whole_in(told, "renewalTerm", int(str(before["RenewalTerm"])))
        if "AutoRenew" in fields:
            fields["AutoRenew"] = fields["AutoRenew"] is True
        return fields

    def _billed_until(self, record: Record) -> list[date]:
        charges = (charge for plan in self._plans(record) for charge in self._charges(plan))
        return [day for c in charges if isinstance(day := c.get("ChargedThroughDate"), date)]

    def _copy_plan(self, after: Record, plan: Record, before: Record) -> Record:
        """A plan with its charges for the version after; what lasts as long as the term goes on with it."""
        copied = self._tenant.create("RatePlan", {**_own(plan), "SubscriptionId": after["Id"]})
        old, new = before.get("TermEndDate"), after.get("TermEndDate")
        for charge in self._charges(plan):
            ends = charge.get("EffectiveEndDate")
            fields = {**_own(charge), "EffectiveEndDate": new if ends == old else ends}
            self._copy_charge(copied, charge, fields)
        return copied

    def _copy_charge(
        self, plan: Record, charge: Record, fields: Record, price: Decimal | None = None
    ) -> Record:
        tier = self.tier(charge)
        made = self._tenant.create("RatePlanCharge", {**fields, "RatePlanId": plan["Id"]})
        told = {**_own(tier), "Price": decimal_of(tier.get("Price")) if price is None else price}
        self._tenant.create("RatePlanChargeTier", {**told, "RatePlanChargeId": made["Id"]})
        return made

    def tier(self, charge: Record) -> Record:
        """The price of a charge."""
        tiers = self._tenant.rows("RatePlanChargeTier")
        return next((t for t in tiers if t["RatePlanChargeId"] == charge["Id"]), {})

    def _update_plan(
        self, record: Record, plan: Record, before: Record, told: Record, effective: date
    ) -> None:
        """Charges of a plan get another price or quantity: a segment ends, another one begins."""
        updates = rows_in(told, "chargeUpdates") or rows_in(told, "chargeUpdateDetails")
        by_key = {str(u.get("chargeNumber") or u.get("ratePlanChargeId")): u for u in updates}
        numbers = {str(c["Id"]): str(c["ChargeNumber"]) for c in self._charges(before)}
        asked = {numbers.get(key, key): update for key, update in by_key.items()}
        for charge in self._last_segments(plan):
            update = asked.get(str(charge["ChargeNumber"]))
            if update is None:
                continue
            pricing, start = _nested(update), charge["EffectiveStartDate"]
            assert isinstance(start, date)
            price = decimal_of(self.tier(charge).get("Price"))
            price = decimal_of(pricing.get("price", pricing.get("listPrice", price)))
            quantity = decimal_of(pricing.get("quantity", charge.get("Quantity")))
            begin = max(start, effective)
            fields = {
                **_own(charge), **_money(charge, record, quantity, price, begin),
                "Version": int(str(charge.get("Version") or 1)) + 1,
                "Segment": int(str(charge.get("Segment") or 1)) + 1,
                "EffectiveStartDate": begin, "ChargedThroughDate": None, "ProcessedThroughDate": None,
            }  # fmt: skip
            self._copy_charge(plan, charge, fields, price)
            ended = {"EffectiveEndDate": begin, "IsLastSegment": False}
            self._tenant.update("RatePlanCharge", str(charge["Id"]), ended)

    def _end_plan(self, plan: Record, day: object) -> None:
        """The plan's charges end on that day, or where they began."""
        assert isinstance(day, date)
        for charge in self._charges(plan):
            start, end = charge["EffectiveStartDate"], charge.get("EffectiveEndDate")
            assert isinstance(start, date)
            if not isinstance(end, date) or day < end:
                ended = {"EffectiveEndDate": max(start, day)}
                self._tenant.update("RatePlanCharge", str(charge["Id"]), ended)


def _money(
    charge: Record, record: Record, quantity: Decimal, price: Decimal, start: date
) -> Record:
    """What a charge brings in a month and over its term."""
    amount = quantity * price
    end = record.get("TermEndDate")
    if charge.get("ChargeType") != "Recurring":
        return {"Quantity": quantity, "MRR": Decimal(0), "TCV": amount, "DTCV": amount}
    mrr = (amount / price_months(charge)).quantize(Decimal("1e-9"))
    days = (end - start).days if isinstance(end, date) else 365
    total = (mrr * 12 * days / 365).quantize(Decimal("0.01"))
    return {"Quantity": quantity, "MRR": mrr, "DMRC": mrr, "TCV": total, "DTCV": total}


def _check_amounts(told: Mapping[str, object]) -> None:
    """Refuse prices and quantities that are no numbers, before anything is written."""
    for each in (each for name in _OVERRIDES for each in rows_in(told, name)):
        pricing = _nested(each)
        for amount in ("price", "listPrice", "quantity"):
            decimal_of(pricing.get(amount))


def _own(record: Record) -> Record:
    """What a record says of itself, to be said of its copy."""
    return {n: v for n, v in record.items() if n not in ("Id", "CreatedDate", "UpdatedDate")}


def _nested(told: Record) -> Record:
    """Price and quantity, which orders put below the charge model's name and the older calls do not."""
    pricing = told.get("pricing")
    if isinstance(pricing, dict):
        for inside in pricing.values():
            if isinstance(inside, dict):
                return {**told, **inside}
    return told


def _text(value: object) -> str | None:
    return value.isoformat() if isinstance(value, date) else None
