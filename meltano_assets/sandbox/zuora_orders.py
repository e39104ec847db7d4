"""Zuora's orders: what they ask of subscriptions is carried out at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import date

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_asked import date_in, rows_in
from meltano_assets.sandbox.zuora_subscriptions import Subscriptions
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_writes import Accounts, Refused, missing


class Orders:
    """``/v1/orders``."""

    def __init__(
        self,
        tenant: TenantRecords,
        accounts: Accounts,
        subscriptions: Subscriptions,
        billed: Callable[[Mapping[str, object], Collection[Record]], Record],
    ) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._subscriptions = subscriptions
        self._billed = billed

    def place(self, told: Mapping[str, object]) -> Record:
        """Carries out a new order."""
        if not told.get("orderDate"):
            raise Refused(53400020, "'orderDate' may not be empty")
        ordered = date_in(told, "orderDate", self._tenant.now().date())
        wanted = rows_in(told, "subscriptions")
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
        ids = [self._subscriptions.known(each)["Id"] for each in numbers]
        return {
            **self._billed(told, [self._subscriptions.known(each) for each in numbers]),
            "orderNumber": number,
            "accountNumber": account["AccountNumber"],
            "accountId": account["Id"],
            "status": "Completed",
            "subscriptionNumbers": numbers,
            "subscriptionIds": ids,
        }

    def _carry_out(self, account: Record, told: Record, ordered: date) -> Record:
        actions = rows_in(told, "orderActions")
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
                    for each in rows_in(order, "subscriptions")
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
        later = next(iter(rows_in(terms, "renewalTerms")), {})
        found |= {
            "termType": first.get("termType"), "initialTerm": first.get("period"),
            "initialTermPeriodType": first.get("periodType"), "termStartDate": first.get("startDate"),
            "renewalTerm": later.get("period"), "renewalTermPeriodType": later.get("periodType"),
            "autoRenew": terms.get("autoRenew"), "renewalSetting": terms.get("renewalSetting"),
        }  # fmt: skip
    return found


def _effective(action: Record, ordered: date) -> str:
    for each in rows_in(action, "triggerDates"):
        if each.get("name") == "ContractEffective" and each.get("triggerDate"):
            return str(each["triggerDate"])
    return ordered.isoformat()
