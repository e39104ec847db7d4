"""Subscriptions that clients begin and change, by the subscription calls and by orders.

Every change is a new version of the subscription with rate plans and charges of its own and an amendment
that tells of it; the version before expires. Nothing is invoiced for them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.zuora_objects import find, name_of
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_writes import Accounts, Refused, missing

_MONTHS = {
    "Monthly": 1,
    "Month": 1,
    "Quarter": 3,
    "Semi_Annual": 6,
    "Annual": 12,
    "Eighteen_Months": 18,
}
#: Order action → the type of its amendment.
_AMENDMENTS = {
    "AddProduct": "NewProduct", "RemoveProduct": "RemoveProduct", "UpdateProduct": "UpdateProduct",
    "RenewSubscription": "Renewal", "CancelSubscription": "Cancellation",
    "TermsAndConditions": "TermsAndConditions",
}  # fmt: skip


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
        latest: dict[object, Record] = {}
        for record in self._tenant.rows("Subscription"):
            if record["AccountId"] == account["Id"]:
                known = latest.get(record["Name"])
                if known is None or int(str(record["Version"])) > int(str(known["Version"])):
                    latest[record["Name"]] = record
        return list(latest.values())

    def show(self, record: Record) -> Record:
        """A subscription as the calls tell it, with its rate plans and charges."""
        account = self._tenant.find("Account", record["AccountId"]) or {}
        plans = [self._plan(plan) for plan in self._plans(record)]
        charges = [charge for plan in self._plans(record) for charge in self._charges(plan)]
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
            "contractedMrr": float(sum((_decimal(c.get("MRR")) for c in charges), Decimal(0))),
            "totalContractedValue": float(sum((_decimal(c.get("TCV")) for c in charges), Decimal(0))),
            "isLatestVersion": all(int(str(r["Version"])) <= int(str(record["Version"])) for r in names),
            "ratePlans": plans,
        }  # fmt: skip

    def _plans(self, record: Record) -> list[Record]:
        return [r for r in self._tenant.rows("RatePlan") if r["SubscriptionId"] == record["Id"]]

    def _charges(self, plan: Record) -> list[Record]:
        return [r for r in self._tenant.rows("RatePlanCharge") if r["RatePlanId"] == plan["Id"]]

    def _plan(self, plan: Record) -> Record:
        product = self._tenant.find("Product", plan.get("ProductId")) or {}
        return {
            "id": plan["Id"],
            "productId": plan.get("ProductId"),
            "productName": product.get("Name"),
            "productSku": product.get("SKU"),
            "productRatePlanId": plan.get("ProductRatePlanId"),
            "ratePlanName": plan["Name"],
            "ratePlanCharges": [self._charge(charge) for charge in self._charges(plan)],
        }

    def _charge(self, charge: Record) -> Record:
        tier = next(
            (t for t in self._tenant.rows("RatePlanChargeTier") if t["RatePlanChargeId"] == charge["Id"]),
            {},
        )  # fmt: skip
        return {
            "id": charge["Id"],
            "originalChargeId": charge.get("OriginalId"),
            "productRatePlanChargeId": charge.get("ProductRatePlanChargeId"),
            "number": charge.get("ChargeNumber"),
            "name": charge.get("Name"),
            "type": charge.get("ChargeType"),
            "uom": charge.get("UOM"),
            "quantity": float(_decimal(charge.get("Quantity"))),
            "price": float(_decimal(tier.get("Price"))) if tier.get("Price") is not None else None,
            "currency": tier.get("Currency"),
            "mrr": float(_decimal(charge.get("MRR"))),
            "tcv": float(_decimal(charge.get("TCV"))),
            "effectiveStartDate": _text(charge.get("EffectiveStartDate")),
            "effectiveEndDate": _text(charge.get("EffectiveEndDate")),
            "segment": charge.get("Segment"),
            "version": charge.get("Version"),
        }

    # Writing

    def begin(self, account: Record, told: Mapping[str, object]) -> Record:
        """A new subscription; ``told`` is a request of the subscription call."""
        start = _date(told, "contractEffectiveDate", self._tenant.now().date())
        plans = _list(told, "subscribeToRatePlans")
        if not plans:
            raise Refused(53200020, "'subscribeToRatePlans' may not be empty")
        kind = str(told.get("termType") or "TERMED")
        if kind not in ("TERMED", "EVERGREEN"):
            raise Refused(53200020, f"The termType value {kind} is invalid")
        number = str(told.get("subscriptionNumber") or self._tenant.number("A-S"))
        if find(self._tenant, "Subscription", number) is not None:
            raise Refused(53200022, f"The subscription number {number} already exists.")
        term, period = (
            _whole(told, "initialTerm", 12),
            str(told.get("initialTermPeriodType") or "Month"),
        )
        term_start = _date(told, "termStartDate", start)
        end = _after(term_start, term, period) if kind == "TERMED" else None
        for plan in plans:
            self._product_plan(plan)
        record = self._tenant.create(
            "Subscription",
            {
                "Name": number, "AccountId": account["Id"], "InvoiceOwnerId": account["Id"],
                "CreatorAccountId": account["Id"], "CreatorInvoiceOwnerId": account["Id"],
                "Version": 1, "Status": "Active", "TermType": kind, "Notes": told.get("notes"),
                "InitialTerm": term, "InitialTermPeriodType": period,
                "CurrentTerm": term, "CurrentTermPeriodType": period,
                "RenewalTerm": _whole(told, "renewalTerm", term),
                "RenewalTermPeriodType": str(told.get("renewalTermPeriodType") or period),
                "RenewalSetting": str(told.get("renewalSetting") or "RENEW_WITH_SPECIFIC_TERM"),
                "AutoRenew": bool(told.get("autoRenew")), "IsInvoiceSeparate": bool(told.get("invoiceSeparately")),
                "TermStartDate": term_start, "TermEndDate": end, "SubscriptionStartDate": start,
                "SubscriptionEndDate": end, "ContractEffectiveDate": start,
                "ContractAcceptanceDate": _date(told, "customerAcceptanceDate", start),
                "ServiceActivationDate": _date(told, "serviceActivationDate", start),
                "OriginalCreatedDate": self._tenant.now(),
            },
        )  # fmt: skip
        record = self._tenant.update(
            "Subscription", str(record["Id"]), {"OriginalId": record["Id"]}
        )
        for plan in plans:
            self._add_plan(record, plan, start)
        return record

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
            for name in ("chargeOverrides", "chargeUpdateDetails")
            for each in _list(told, name)
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
        price = _decimal(pricing.get("price", pricing.get("listPrice", tier.get("Price"))))
        quantity = _decimal(pricing.get("quantity", product.get("DefaultQuantity") or 1))
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
        effective = _date(told, "contractEffectiveDate", self._tenant.now().date())
        plan_key = str(told.get("ratePlanId") or told.get("newRatePlanId") or "")
        chosen = next((p for p in self._plans(before) if p["Id"] == plan_key), None)
        if action in ("RemoveProduct", "UpdateProduct") and chosen is None:
            raise Refused(53200040, f"Cannot find the rate plan {plan_key}")
        if action == "AddProduct":
            self._product_plan(dict(told))
        version = int(str(before["Version"])) + 1
        own = {n: v for n, v in before.items() if n not in ("Id", "CreatedDate", "UpdatedDate")}
        changed = self._changed(before, action, told, effective)
        link: Record = {"Version": version, "PreviousSubscriptionId": before["Id"]}
        after = self._tenant.create("Subscription", {**own, **changed, **link})
        self._tenant.update("Subscription", str(before["Id"]), {"Status": "Expired"})
        for plan in self._plans(before):
            if action == "RemoveProduct" and plan is chosen:
                continue
            is_changed = action == "UpdateProduct" and plan["Id"] == plan_key
            self._copy_plan(after, plan, dict(told) if is_changed else {})
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
            until = _after(end, term, period)
            return {
                "CurrentTerm": term, "CurrentTermPeriodType": period, "TermStartDate": end,
                "TermEndDate": until, "SubscriptionEndDate": until,
            }  # fmt: skip
        if action == "CancelSubscription":
            policy = str(told.get("cancellationPolicy") or "SpecificDate")
            if policy not in ("EndOfCurrentTerm", "EndOfLastInvoicePeriod", "SpecificDate"):
                raise Refused(53200020, f"The cancellationPolicy {policy} is invalid")
            at = _date(told, "cancellationEffectiveDate", effective)
            if policy != "SpecificDate" and isinstance(end, date):
                at = end
            return {"Status": "Cancelled", "CancelledDate": at, "SubscriptionEndDate": at}
        fields: Record = {}
        for name, field in (
            ("autoRenew", "AutoRenew"), ("notes", "Notes"), ("renewalSetting", "RenewalSetting"),
            ("renewalTerm", "RenewalTerm"),
        ):  # fmt: skip
            if name in told and action == "TermsAndConditions":
                fields[field] = told[name]
        return fields

    def _copy_plan(self, after: Record, plan: Record, told: Record) -> None:
        def own(record: Record) -> Record:
            return {
                n: v for n, v in record.items() if n not in ("Id", "CreatedDate", "UpdatedDate")
            }

        copied = self._tenant.create("RatePlan", {**own(plan), "SubscriptionId": after["Id"]})
        updates = _list(told, "chargeUpdates") or _list(told, "chargeUpdateDetails")
        by_number = {str(u.get("chargeNumber") or u.get("ratePlanChargeId")): u for u in updates}
        for charge in self._charges(plan):
            update = by_number.get(str(charge["ChargeNumber"])) or by_number.get(str(charge["Id"]))
            tier: Record = next(
                (
                    t for t in self._tenant.rows("RatePlanChargeTier")
                    if t["RatePlanChargeId"] == charge["Id"]
                ),
                {},
            )  # fmt: skip
            fields = own(charge)
            price = _decimal(tier.get("Price"))
            if update is not None:
                pricing = _nested(update)
                price = _decimal(pricing.get("price", pricing.get("listPrice", price)))
                quantity = _decimal(pricing.get("quantity", charge.get("Quantity")))
                start = charge["EffectiveStartDate"]
                assert isinstance(start, date)
                fields |= _money(charge, after, quantity, price, start)
                fields["Version"] = int(str(charge.get("Version") or 1)) + 1
            made = self._tenant.create("RatePlanCharge", {**fields, "RatePlanId": copied["Id"]})
            self._tenant.create(
                "RatePlanChargeTier", {**own(tier), "RatePlanChargeId": made["Id"], "Price": price}
            )


class Orders:
    """``/v1/orders``."""

    def __init__(
        self, tenant: TenantRecords, accounts: Accounts, subscriptions: Subscriptions
    ) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._subscriptions = subscriptions

    def place(self, told: Mapping[str, object]) -> Record:
        """Carries out a new order."""
        if not told.get("orderDate"):
            raise Refused(53400020, "'orderDate' may not be empty")
        ordered = _date(told, "orderDate", self._tenant.now().date())
        wanted = _list(told, "subscriptions")
        if not wanted and not told.get("orderLineItems"):
            raise Refused(53400020, "'subscriptions' may not be empty")
        number = str(told.get("orderNumber") or self._tenant.number("O-"))
        if number in self._tenant.orders:
            raise Refused(53400022, f"The order number {number} already exists.")
        new = told.get("newAccount")
        if isinstance(new, dict):
            account = self._accounts.known(self._accounts.create(new)["accountId"])
        else:
            account = self._accounts.known(told.get("existingAccountNumber"))
        done = [self._carry_out(account, each, ordered) for each in wanted]
        now = self._tenant.now().strftime("%Y-%m-%d %H:%M:%S")
        self._tenant.orders[number] = {
            "orderNumber": number,
            "orderDate": ordered.isoformat(),
            "existingAccountNumber": account["AccountNumber"],
            "currency": account.get("Currency"),
            "description": told.get("description"),
            "category": told.get("category") or "NewSales",
            "status": "Completed",
            "createdDate": now,
            "updatedDate": now,
            "subscriptions": done,
            "orderLineItems": [],
        }
        numbers = [str(each["subscriptionNumber"]) for each in done]
        return {
            "orderNumber": number,
            "accountNumber": account["AccountNumber"],
            "accountId": account["Id"],
            "status": "Completed",
            "subscriptionNumbers": numbers,
            "subscriptionIds": [self._subscriptions.known(each)["Id"] for each in numbers],
        }

    def _carry_out(self, account: Record, told: Record, ordered: date) -> Record:
        actions = _list(told, "orderActions")
        if not actions:
            raise Refused(53400020, "'orderActions' may not be empty")
        number = str(told.get("subscriptionNumber") or "")
        base = self._subscriptions.known(number)["Version"] if number else 0
        for action in actions:
            kind = str(action.get("type"))
            inside = action.get(f"{kind[:1].lower()}{kind[1:]}")
            inside = dict(inside) if isinstance(inside, dict) else {}
            inside.setdefault("contractEffectiveDate", _effective(action, ordered))
            if kind == "CreateSubscription":
                made = self._subscriptions.begin(account, _terms(inside))
                number = str(made["Name"])
            elif not number:
                raise Refused(53400020, "'subscriptionNumber' may not be empty")
            else:
                self._subscriptions.change(number, kind, inside)
        return {
            "subscriptionNumber": number,
            "subscriptionOwnerAccountNumber": account["AccountNumber"],
            "baseVersion": base,
            "newVersion": self._subscriptions.known(number)["Version"],
            "orderActions": [{**each, "sequence": n} for n, each in enumerate(actions)],
        }

    def known(self, number: str) -> Record:
        """The order of that number."""
        if number not in self._tenant.orders:
            raise missing("order", number)
        return self._tenant.orders[number]

    def listed(
        self, *, account: str | None = None, subscription: str | None = None
    ) -> list[Record]:
        """All orders, the newest first, or those of an account or a subscription."""
        return [
            order
            for order in reversed(list(self._tenant.orders.values()))
            if account in (None, order["existingAccountNumber"])
            and (
                subscription is None
                or any(
                    each["subscriptionNumber"] == subscription
                    for each in _list(order, "subscriptions")
                )
            )
        ]

    def change(self, number: str, told: Mapping[str, object]) -> Record:
        """Another description or category."""
        order = self.known(number)
        order |= {name: told[name] for name in ("description", "category") if name in told}
        return {"orderNumber": number}

    def delete(self, number: str) -> Record:
        """An order that was carried out stays."""
        self.known(number)
        raise Refused(53400030, f"The order {number} is completed and cannot be deleted")


def _terms(told: Record) -> Record:
    """An order's terms as a request of the subscription call has them."""
    terms = told.get("terms")
    found: Record = {**told}
    if isinstance(terms, dict):
        initial = terms.get("initialTerm")
        first: Mapping[str, object] = initial if isinstance(initial, dict) else {}
        later = next(iter(_list(terms, "renewalTerms")), {})
        found |= {
            "termType": first.get("termType"), "initialTerm": first.get("period"),
            "initialTermPeriodType": first.get("periodType"), "termStartDate": first.get("startDate"),
            "renewalTerm": later.get("period"), "renewalTermPeriodType": later.get("periodType"),
            "autoRenew": terms.get("autoRenew"), "renewalSetting": terms.get("renewalSetting"),
        }  # fmt: skip
    return found


def _effective(action: Record, ordered: date) -> str:
    for each in _list(action, "triggerDates"):
        if each.get("name") == "ContractEffective" and each.get("triggerDate"):
            return str(each["triggerDate"])
    return ordered.isoformat()


def _money(
    charge: Record, record: Record, quantity: Decimal, price: Decimal, start: date
) -> Record:
    """What a charge brings in a month and over its term."""
    amount = quantity * price
    end = record.get("TermEndDate")
    if charge.get("ChargeType") != "Recurring":
        return {"Quantity": quantity, "MRR": Decimal(0), "TCV": amount, "DTCV": amount}
    months = _MONTHS.get(str(charge.get("BillingPeriod")), 12)
    mrr = (amount / months).quantize(Decimal("1e-9"))
    days = (end - start).days if isinstance(end, date) else 365
    total = (mrr * 12 * days / 365).quantize(Decimal("0.01"))
    return {"Quantity": quantity, "MRR": mrr, "DMRC": mrr, "TCV": total, "DTCV": total}


def _nested(told: Record) -> Record:
    """Price and quantity, which orders put below the charge model's name and the older calls do not."""
    pricing = told.get("pricing")
    if isinstance(pricing, dict):
        for inside in pricing.values():
            if isinstance(inside, dict):
                return {**told, **inside}
    return told


def _list(told: Mapping[str, object], name: str) -> list[Record]:
    value = told.get(name)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _date(told: Mapping[str, object], name: str, otherwise: date) -> date:
    value = told.get(name)
    if value in (None, ""):
        return otherwise
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        raise Refused(53200020, f"'{name}' is not a date: {value}") from None


def _whole(told: Mapping[str, object], name: str, otherwise: int) -> int:
    value = told.get(name)
    if value in (None, ""):
        return otherwise
    if isinstance(value, bool) or not is_number(str(value)) or int(str(value)) < 1:
        raise Refused(53200020, f"'{name}' must be a positive number")
    return int(str(value))


def _decimal(value: object) -> Decimal:
    try:
        number = Decimal(str(value or 0))
    except InvalidOperation:
        raise Refused(53200020, f"{value} is not a number") from None
    if not number.is_finite():
        raise Refused(53200020, f"{value} is not a number")
    return number


def _text(value: object) -> str | None:
    return value.isoformat() if isinstance(value, date) else None


def _after(start: date, term: int, period: str) -> date:
    """The day on which a term ends that begins on a day."""
    if period in ("Week", "Day"):
        return start + timedelta(days=term * (7 if period == "Week" else 1))
    months = start.month - 1 + term * (12 if period == "Year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    last = (date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)).day
    return date(year, month, min(start.day, last))
