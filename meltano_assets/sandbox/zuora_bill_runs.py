"""Zuora's calls that bill: bill runs, invoice and collect, billing documents, and what sells and bills at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal

from meltano_assets.sandbox.company_catalog import decimal
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_asked import date_in, rows_in, texts_in
from meltano_assets.sandbox.zuora_billing import Billing, target_of, wants_billing
from meltano_assets.sandbox.zuora_subscriptions import Subscriptions
from meltano_assets.sandbox.zuora_tenant import USER, TenantRecords
from meltano_assets.sandbox.zuora_wire import json_value
from meltano_assets.sandbox.zuora_writes import Accounts, Refused, missing

#: Invoices that one request posts.
_MOST_POSTED = 50


class BillRuns:
    """Answers them."""

    def __init__(
        self,
        tenant: TenantRecords,
        accounts: Accounts,
        subscriptions: Subscriptions,
        billing: Billing,
    ) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._subscriptions = subscriptions
        self._billing = billing

    # At the request of one account

    def invoice_and_collect(self, told: Mapping[str, object]) -> Record:
        """``/v1/operations/invoice-collect``: an account's invoice, or one that there is, and its payment."""
        account = self._accounts.known(told.get("accountKey"))
        if told.get("invoiceId"):
            invoices = [self._billing.known(str(told["invoiceId"]))]
            if invoices[0]["AccountId"] != account["Id"]:
                raise missing("invoice", str(told["invoiceId"]))
        else:
            today = self._tenant.now().date()
            dated = date_in(told, "documentDate", date_in(told, "invoiceDate", today))
            target = target_of(told, today)
            invoices = self._billing.invoice([str(account["Id"])], target, dated)
        payment = self._billing.collect(invoices)
        answer: Record = {
            "invoices": [
                {
                    "invoiceId": each["Id"], "invoiceNumber": each["InvoiceNumber"],
                    "invoiceAmount": _amount(each["Amount"]),
                }
                for each in invoices
            ],
            "amountCollected": _amount(payment["Amount"] if payment else 0),
        }  # fmt: skip
        return answer | ({"paymentId": payment["Id"]} if payment else {})

    def documents(self, key: str, told: Mapping[str, object]) -> Record:
        """``/v1/accounts/…/billing-documents/generate``: drafts, unless they shall be posted at once."""
        account = self._accounts.known(key)
        for name in ("targetDate", "effectiveDate"):
            if not told.get(name):
                raise Refused(58490020, f"'{name}' may not be empty")
        today = self._tenant.now().date()
        chosen = [self._subscriptions.known(each) for each in texts_in(told, "subscriptionIds")]
        invoices = self._billing.invoice(
            [str(account["Id"])],
            date_in(told, "targetDate", today),
            date_in(told, "effectiveDate", today),
            only=[each["Name"] for each in chosen] or None,
            left_out=_excluded(told),
            is_draft=told.get("autoPost") is not True,
        )
        return {"invoices": [{"id": each["Id"]} for each in invoices]}

    def generate(self, told: Mapping[str, object]) -> Record:
        """``/v1/action/generate``: an account's draft; names are great here."""
        try:
            account = self._accounts.known(told.get("AccountId"))
            if not told.get("TargetDate"):
                raise Refused("MISSING_REQUIRED_VALUE", "Missing required value: TargetDate")
            today = self._tenant.now().date()
            dated, target = (date_in(told, n, today) for n in ("InvoiceDate", "TargetDate"))
            invoices = self._billing.invoice([str(account["Id"])], target, dated, is_draft=True)
            if not invoices:
                raise Refused("INVALID_VALUE", "There is nothing to bill up to the target date.")
        except Refused as refused:
            code = refused.code if isinstance(refused.code, str) else "INVALID_VALUE"
            errors = [{"Code": code, "Message": refused.message}]
            return {"Success": False, "Errors": errors}
        return {"Success": True, "Id": invoices[0]["Id"]}

    def check(self, told: Mapping[str, object]) -> None:
        """Refuse a request that sells, before anything is written, for days that its bill cannot have."""
        today = self._tenant.now().date()
        wanted = _object(_object(told.get("processingOptions")).get("billingOptions"))
        date_in(wanted, "documentDate", today)
        for each in (told, wanted):
            target_of(each, today)

    def sold(self, told: Mapping[str, object], subscription: Record) -> Record:
        """What a call answers that sold something: its invoice and payment, where it asked for them."""
        if not wants_billing(told):
            return {}
        today = self._tenant.now().date()
        invoices = self._invoice_of([subscription], target_of(told, today), today)
        if not invoices:
            return {}
        answer: Record = {"invoiceId": invoices[0]["Id"]}
        if told.get("collect", told.get("invoiceCollect")) is True:
            payment = self._billing.collect(invoices)
            answer["paidAmount"] = json_value(payment["Amount"] if payment else Decimal(0))
            answer |= {"paymentId": payment["Id"]} if payment else {}
        return answer

    def ordered(self, told: Mapping[str, object], subscriptions: Collection[Record]) -> Record:
        """The invoices of an order whose processing options ask for them."""
        options = _object(told.get("processingOptions"))
        if not (wants_billing(options) or wants_billing(told)):
            return {}
        wanted, today = _object(options.get("billingOptions")), self._tenant.now().date()
        invoices = self._invoice_of(
            subscriptions,
            target_of(wanted, today),
            date_in(wanted, "documentDate", today),
            is_draft=wanted.get("generateDraftInvoice") is True,
        )
        answer: Record = {"invoiceNumbers": [each["InvoiceNumber"] for each in invoices]}
        answer["invoiceIds"] = [each["Id"] for each in invoices]
        if options.get("collectPayment") is True:
            payment = self._billing.collect(invoices)
            answer["paidAmount"] = json_value(payment["Amount"] if payment else Decimal(0))
            answer |= {"paymentNumber": payment["PaymentNumber"]} if payment else {}
        return answer

    def _invoice_of(
        self,
        subscriptions: Collection[Record],
        target: date,
        dated: date,
        *,
        is_draft: bool = False,
    ) -> list[Record]:
        return self._billing.invoice(
            {str(each["InvoiceOwnerId"]) for each in subscriptions},
            target,
            dated,
            only=[each["Name"] for each in subscriptions],
            is_draft=is_draft,
        )

    # Invoices

    def post(self, key: str, told: Mapping[str, object]) -> Record:
        """Post a draft."""
        return self._told(self._billing.post(self._billing.known(key), _dated(told)))

    def post_many(self, told: Mapping[str, object]) -> Record:
        """Post drafts, each with its own result."""
        wanted = rows_in(told, "invoices")
        if not 0 < len(wanted) <= _MOST_POSTED:
            raise Refused(58490020, f"From 1 to {_MOST_POSTED} invoices are needed")
        results: list[Record] = []
        for each in wanted:
            try:
                posted = self._billing.post(self._billing.known(str(each.get("id"))), _dated(each))
                results.append({"success": True, "id": posted["Id"]})
            except Refused as refused:
                reasons = [{"code": refused.code, "message": refused.message}]
                results.append({"success": False, "id": each.get("id"), "reasons": reasons})
        return {"invoices": results}

    def cancel_invoice(self, key: str) -> Record:
        """Give up a draft."""
        return self._told(self._billing.cancel(self._billing.known(key)))

    def delete_invoice(self, key: str) -> Record:
        """A draft, or one that was given up, goes with its items."""
        invoice = self._billing.known(key)
        if invoice["Status"] != "Canceled":
            invoice = self._billing.cancel(invoice)
        for item in self._tenant.rows("InvoiceItem"):
            if item["InvoiceId"] == invoice["Id"]:
                self._tenant.update("InvoiceItem", str(item["Id"]), {"Deleted": True})
        self._tenant.update("Invoice", str(invoice["Id"]), {"Deleted": True})
        return {"id": invoice["Id"]}

    def _told(self, invoice: Record) -> Record:
        names = ("Id", "InvoiceNumber", "Status", "Amount", "Balance", "InvoiceDate", "DueDate")
        return {name[0].lower() + name[1:]: json_value(invoice[name]) for name in names}

    # Bill runs

    def run(self, told: Mapping[str, object]) -> Record:
        """A new bill run; it is done when it is asked for the next time."""
        today = self._tenant.now().date()
        if not told.get("targetDate"):
            raise Refused(58490020, "'targetDate' may not be empty")
        target, dated = date_in(told, "targetDate", today), date_in(told, "invoiceDate", today)
        accounts, only = self._chosen(told)
        if told.get("autoRenewal") is True:
            self._renew(accounts, only, target)
        number = self._tenant.number("BR-")
        is_posted = told.get("autoPost") is True
        self._billing.invoice(
            accounts, target, dated, only=only, source=("BillRun", number),
            left_out=_excluded(told), is_draft=not is_posted,
        )  # fmt: skip
        now = json_value(self._tenant.now())
        key = self._tenant.key()
        run: Record = {
            "id": key, "name": told.get("name") or number, "billRunNumber": number,
            **{name: told[name] for name in _KEPT if name in told},
            "autoPost": is_posted, "autoEmail": told.get("autoEmail") is True,
            "autoRenewal": told.get("autoRenewal") is True,
            "noEmailForZeroAmountInvoice": told.get("noEmailForZeroAmountInvoice") is True,
            "status": "Posted" if is_posted else "Completed",
            "invoiceDate": dated.isoformat(), "targetDate": target.isoformat(),
            "createdById": USER, "createdDate": now, "updatedById": USER, "updatedDate": now,
        }  # fmt: skip
        self._tenant.bill_runs[key] = run
        return {**run, "status": "Pending"}

    def _chosen(self, told: Mapping[str, object]) -> tuple[set[str], list[object] | None]:
        """The accounts of a bill run by their ids, and the numbers of its subscriptions, if it names them."""
        filters, batches = rows_in(told, "billRunFilters"), texts_in(told, "batches")
        if filters and batches:
            raise Refused(58490020, "Say either 'batches' or 'billRunFilters'")
        accounts: set[str] = set()
        numbers: list[object] = []
        for each in filters:
            if each.get("subscriptionId"):
                found = self._subscriptions.known(str(each["subscriptionId"]))
                accounts.add(str(found["InvoiceOwnerId"]))
                numbers.append(found["Name"])
            else:
                account = self._accounts.known(each.get("accountId"))
                accounts.add(str(account["Id"]))
                mine = self._subscriptions.of_account(str(account["Id"]))
                numbers += [subscription["Name"] for subscription in mine]
        if filters:
            return accounts, numbers
        day = str(told.get("billCycleDay") or "AllBillCycleDays")
        is_any = not batches or "AllBatches" in batches
        for account in self._tenant.rows("Account"):
            is_its_day = day in ("AllBillCycleDays", str(account.get("BillCycleDay")))
            if is_its_day and (is_any or account.get("Batch") in batches):
                accounts.add(str(account["Id"]))
        return accounts, None

    def _renew(
        self, accounts: Collection[str], only: Collection[object] | None, target: date
    ) -> None:
        made = {each["Name"] for each in self._tenant.made("Subscription")}
        for each in self._subscriptions.latest():
            is_wanted = each["InvoiceOwnerId"] in accounts and (
                only is None or each["Name"] in only
            )
            end = each.get("TermEndDate")
            is_over = isinstance(end, date) and end <= target
            if is_wanted and is_over and each["Name"] in made:
                self._billing.renew(each)

    def known(self, key: str) -> Record:
        """The bill run of that id or number."""
        for run in self._tenant.bill_runs.values():
            if key in (run["id"], run["billRunNumber"]):
                return run
        raise missing("bill run", key)

    def post_run(self, key: str, told: Mapping[str, object]) -> Record:
        """Post the drafts of a bill run."""
        run = self._only(key, "Completed")
        for invoice in self._drafts(run):
            self._billing.post(invoice, _dated(told))
        return self._turned(run, "Posted")

    def cancel_run(self, key: str) -> Record:
        """Give up a bill run with its drafts."""
        run = self._only(key, "Completed")
        for invoice in self._drafts(run):
            self._billing.cancel(invoice)
        return self._turned(run, "Canceled")

    def delete_run(self, key: str) -> Record:
        """A bill run that was given up goes."""
        run = self._only(key, "Canceled")
        return {"id": self._tenant.bill_runs.pop(str(run["id"]))["id"]}

    def _only(self, key: str, status: str) -> Record:
        run = self.known(key)
        if run["status"] != status:
            raise Refused(58490030, f"The bill run {run['billRunNumber']} is {run['status']}")
        return run

    def _drafts(self, run: Record) -> list[Record]:
        number = run["billRunNumber"]
        rows = self._tenant.rows("Invoice")
        return [i for i in rows if i["SourceId"] == number and i["Status"] == "Draft"]

    def _turned(self, run: Record, status: str) -> Record:
        run |= {"status": status, "updatedDate": json_value(self._tenant.now())}
        return run


_KEPT = ("batches", "billCycleDay", "billRunFilters", "chargeTypeToExclude")


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _excluded(told: Mapping[str, object]) -> list[str]:
    return [each.lower() for each in texts_in(told, "chargeTypeToExclude")]


def _dated(told: Mapping[str, object]) -> date | None:
    """The date that a posted invoice shall bear, if the request says one."""
    return date_in(told, "invoiceDate", date.min) if told.get("invoiceDate") else None


def _amount(value: object) -> str:
    return format(decimal(value), "f")
