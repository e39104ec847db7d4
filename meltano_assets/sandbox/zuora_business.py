"""Zuora's later calls: accounts, contacts, subscriptions, orders, invoices and payments, and their pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from starlette.requests import Request
from starlette.responses import Response

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.faults import FOREIGN_HOST, FaultBox
from meltano_assets.sandbox.numbers import is_number
from meltano_assets.sandbox.service import base_url, json_response
from meltano_assets.sandbox.zuora_bill_runs import BillRuns
from meltano_assets.sandbox.zuora_billing import Billing
from meltano_assets.sandbox.zuora_objects import find
from meltano_assets.sandbox.zuora_orders import Orders
from meltano_assets.sandbox.zuora_previews import Previews
from meltano_assets.sandbox.zuora_subscriptions import Subscriptions
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_wire import failure, json_value, lowered
from meltano_assets.sandbox.zuora_writes import Accounts

MAX_PAGE = 40


class Business:
    """Answers them over the tenant's records."""

    def __init__(self, tenant: TenantRecords, faults: FaultBox) -> None:
        self._tenant = tenant
        self._faults = faults
        self._accounts = Accounts(tenant, json_value)
        self._subscriptions = Subscriptions(tenant, self._accounts, json_value)
        self._billing = Billing(tenant, self._subscriptions)
        self._runs = BillRuns(tenant, self._accounts, self._subscriptions, self._billing)
        self._orders = Orders(tenant, self._accounts, self._subscriptions, self._runs.ordered)
        self._previews = Previews(
            tenant, self._accounts, self._subscriptions, self._billing, self._orders
        )
        self.turn_invoice = self._billing.turn

    def catch_up(self) -> None:
        """Do what the nights up to now had to do."""
        if self._billing.catch_up():
            self._tenant.keep()

    def generate(self, told: Mapping[str, object]) -> Record:
        """An account's draft, as ``/v1/action/generate`` tells it."""
        answer = self._runs.generate(told)
        self._tenant.keep()
        return answer

    def of_account(self, request: Request, name: str, key: str) -> Response:
        """The invoices or payments of an account."""
        return self.documents(request, name, [], self._accounts.known(key))

    def answer(
        self, request: Request, parts: Sequence[str], body: Mapping[str, object]
    ) -> Response:
        """Accounts, contacts, subscriptions, orders and what bills them."""
        method = request.method
        answer = self._answer(method, parts, body)
        if answer is not None:
            if method != "GET":
                self._tenant.keep()
            return json_response({"success": True, **answer})
        subscriptions, orders = self._subscriptions, self._orders
        match (method, *parts):
            case ("GET", "subscriptions", "accounts", key):
                found = [subscriptions.show(each) for each in subscriptions.of_account(key)]
                return self._listed(request, "subscriptions", found)
            case ("GET", "orders"):
                return self._listed(request, "orders", orders.listed())
            case ("GET", "orders", "subscriptionOwner" | "invoiceOwner", key):
                return self._listed(request, "orders", orders.listed(account=key))
            case ("GET", "orders", "subscription", key):
                return self._listed(request, "orders", orders.listed(subscription=key))
        return failure(50000040, f"Cannot find entity by path: {request.url.path}", 404)

    def _answer(
        self, method: str, parts: Sequence[str], body: Mapping[str, object]
    ) -> Record | None:
        accounts, subscriptions, orders = self._accounts, self._subscriptions, self._orders
        self._runs.check(body)
        match (method, *parts):
            case ("POST", "accounts"):
                return self._account_made(body)
            case ("GET", "accounts", key):
                return accounts.show(key)
            case ("GET", "accounts", key, "summary"):
                return accounts.summary(key)
            case ("PUT", "accounts", key):
                return accounts.update(key, body)
            case ("DELETE", "accounts", key):
                return accounts.delete(key)
            case ("POST", "contacts"):
                return accounts.create_contact(body)
            case ("GET" | "PUT" | "DELETE", "contacts", key):
                return accounts.contact(method, key, body)
            case ("POST", "subscriptions", "preview"):
                return self._previews.new_subscription(body)
            case ("POST", "subscriptions", key, "preview"):
                return self._previews.subscription(key, body)
            case ("PUT", "subscriptions", key) if body.get("preview") is True:
                return self._change_previewed(key, body)
            case ("POST", "subscriptions"):
                made = subscriptions.begin(accounts.known(body.get("accountKey")), body)
                return self._subscription_made(made, body)
            case ("GET", "subscriptions", key):
                return subscriptions.show(subscriptions.known(key))
            case ("GET", "subscriptions", key, "versions", version) if is_number(version):
                return subscriptions.show(subscriptions.known(key, int(version)))
            case ("PUT", "subscriptions", key):
                return self._subscription_made(self._change_subscription(key, body), body)
            case ("PUT", "subscriptions", key, "cancel"):
                gone = subscriptions.change(key, "CancelSubscription", body)
                cancelled = str(gone["CancelledDate"])
                told = {"subscriptionId": gone["Id"], "cancelledDate": cancelled}
                return told | self._runs.sold(body, gone)
            case ("PUT", "subscriptions", key, "renew"):
                renewed = subscriptions.change(key, "RenewSubscription", body)
                ends = {
                    n: str(renewed[n[0].upper() + n[1:]]) for n in ("termStartDate", "termEndDate")
                }
                told = {"subscriptionId": renewed["Id"], **ends}
                return told | self._runs.sold(body, renewed)
            case ("POST", "orders", "preview"):
                return self._previews.order(body)
            case ("POST", "orders"):
                return orders.place(body)
            case ("GET", "orders", number):
                return {"order": orders.known(number)}
            case ("PUT", "orders", number):
                return orders.change(number, body)
            case ("DELETE", "orders", number):
                return orders.delete(number)
        return self._billed(method, parts, body)

    def _billed(
        self, method: str, parts: Sequence[str], body: Mapping[str, object]
    ) -> Record | None:
        runs = self._runs
        match (method, *parts):
            case ("POST", "operations", "invoice-collect"):
                return runs.invoice_and_collect(body)
            case ("POST", "operations", "billing-preview"):
                return self._previews.bill(body)
            case ("POST", "accounts", key, "billing-documents", "generate"):
                return runs.documents(key, body)
            case ("POST", "bill-runs"):
                return runs.run(body)
            case ("GET", "bill-runs", key):
                return runs.known(key)
            case ("PUT", "bill-runs", key, "post"):
                return runs.post_run(key, body)
            case ("PUT", "bill-runs", key, "cancel"):
                return runs.cancel_run(key)
            case ("DELETE", "bill-runs", key):
                return runs.delete_run(key)
            case ("POST", "invoices", "bulk-post"):
                return runs.post_many(body)
            case ("PUT", "invoices", key, "post"):
                return runs.post(key, body)
            case ("PUT", "invoices", key, "cancel"):
                return runs.cancel_invoice(key)
            case ("DELETE", "invoices", key):
                return runs.delete_invoice(key)
        return None

    def _account_made(self, body: Mapping[str, object]) -> Record:
        """A new account, which may begin with a subscription and its bill; amounts are texts here."""
        begun = body.get("subscription")
        if not isinstance(begun, dict):
            return self._accounts.create(body)
        self._subscriptions.check(begun)
        answer = self._accounts.create(body)
        account = self._accounts.known(answer["accountId"])
        told = self._subscription_made(self._subscriptions.begin(account, begun), body)
        return answer | {n: v if isinstance(v, str) else str(v) for n, v in told.items()}

    def _change_subscription(self, key: str, body: Mapping[str, object]) -> Record:
        subscriptions = self._subscriptions
        latest = subscriptions.known(key)
        name = str(latest["Name"])
        for word, action in (
            ("add", "AddProduct"),
            ("remove", "RemoveProduct"),
            ("update", "UpdateProduct"),
        ):
            told = body.get(word)
            for each in told if isinstance(told, list) else []:
                latest = subscriptions.change(name, action, each)
        terms = {"autoRenew", "notes", "renewalSetting", "renewalTerm"} & body.keys()
        if terms:
            told_terms = {term: body[term] for term in terms}
            latest = subscriptions.change(name, "TermsAndConditions", told_terms)
        return latest

    def _change_previewed(self, key: str, body: Mapping[str, object]) -> Record:
        with self._tenant.rehearsal():
            changed = self._change_subscription(key, body)
            return self._previews.subscription(str(changed["Name"]), body)

    def _subscription_made(self, record: Record, body: Mapping[str, object]) -> Record:
        told = self._subscriptions.show(record)
        return {
            "subscriptionId": record["Id"],
            "subscriptionNumber": record["Name"],
            "contractedMrr": told["contractedMrr"],
            "totalContractedValue": told["totalContractedValue"],
            **self._runs.sold(body, record),
        }

    def documents(
        self, request: Request, name: str, rest: Sequence[str], account: Record | None = None
    ) -> Response:
        """Invoices with their items, and payments."""
        kind = "Invoice" if name == "invoices" else "Payment"
        if not rest:
            rows = self._tenant.rows(kind)
            wanted = account["Id"] if account else request.query_params.get("accountId")
            found = [lowered(r) for r in rows if wanted in (None, r["AccountId"])]
            return self._listed(request, name, found)
        record = find(self._tenant, kind, rest[0])
        if record is None:
            return failure(50000040, f"Cannot find {kind} {rest[0]}", 404)
        if len(rest) == 1:
            return json_response({"success": True, **lowered(record)})
        if kind == "Invoice" and list(rest[1:]) == ["items"]:
            items = self._tenant.rows("InvoiceItem")
            found = [lowered(r) for r in items if r["InvoiceId"] == record["Id"]]
            return self._listed(request, "invoiceItems", found)
        return failure(50000040, f"Cannot find entity by path: {request.url.path}", 404)

    def _listed(self, request: Request, name: str, records: Sequence[Record]) -> Response:
        """A page of a list, with a link where more follows."""
        query = request.query_params
        size, page = query.get("pageSize", "20"), query.get("page", "1")
        if (
            not is_number(size)
            or not 1 <= int(size) <= MAX_PAGE
            or not is_number(page)
            or not int(page)
        ):
            return failure(50000020, f"pageSize must be from 1 to {MAX_PAGE}", 400)
        begin = (int(page) - 1) * int(size)
        answer: Record = {"success": True, name: records[begin : begin + int(size)]}
        if begin + int(size) < len(records):
            following = request.url.include_query_params(page=int(page) + 1, pageSize=size)
            link = f"{base_url(request)}{following.path}?{following.query}"
            if fault := self._faults.take("foreign_link", request.url.path):
                link = fault.text("host", FOREIGN_HOST) + following.path
            answer["nextPage"] = link
        return json_response(answer)
