"""Zuora's previews: the bill of an account, a subscription or an order that is not written.

What is asked for is carried out, billed and told, and everything is put back as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal

from meltano_assets.sandbox.company_catalog import decimal
from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zuora_asked import date_in, texts_in
from meltano_assets.sandbox.zuora_billing import Billing, target_of
from meltano_assets.sandbox.zuora_orders import Orders
from meltano_assets.sandbox.zuora_subscriptions import Subscriptions
from meltano_assets.sandbox.zuora_tenant import TenantRecords
from meltano_assets.sandbox.zuora_wire import json_value
from meltano_assets.sandbox.zuora_writes import Accounts, Refused

#: Terms that a preview looks ahead at most.
_MOST_TERMS = 60


class Previews:
    """Answers them."""

    def __init__(
        self,
        tenant: TenantRecords,
        accounts: Accounts,
        subscriptions: Subscriptions,
        billing: Billing,
        orders: Orders,
    ) -> None:
        self._tenant = tenant
        self._accounts = accounts
        self._subscriptions = subscriptions
        self._billing = billing
        self._orders = orders

    def bill(self, told: Mapping[str, object]) -> Record:
        """``/v1/operations/billing-preview``: what an account will be billed up to a day."""
        account = self._accounts.known(told.get("accountId") or told.get("accountNumber"))
        if not told.get("targetDate"):
            raise Refused(58490020, "'targetDate' may not be empty")
        target = date_in(told, "targetDate", date.max)
        renewal = str(told.get("assumeRenewal") or "None").lower()
        key = str(account["Id"])
        with self._tenant.rehearsal():
            if renewal in ("all", "autorenew"):
                for each in self._subscriptions.of_account(key):
                    self._renew(each, target, has_all=renewal == "all")
            items = self._items([key], target, left_out=texts_in(told, "chargeTypeToExclude"))
        return {"accountId": key, "invoiceItems": items, "creditMemoItems": []}

    def _renew(self, subscription: Record, target: date, *, has_all: bool) -> None:
        for _ in range(_MOST_TERMS):
            end = subscription.get("TermEndDate")
            is_on = subscription["Status"] == "Active" and (has_all or subscription["AutoRenew"])
            if not is_on or not isinstance(end, date) or end > target:
                return
            subscription = self._subscriptions.change(
                str(subscription["Name"]), "RenewSubscription", {}
            )

    def new_subscription(self, told: Mapping[str, object]) -> Record:
        """``/v1/subscriptions/preview``: a subscription and its first bill."""
        self._subscriptions.check(told)
        with self._tenant.rehearsal():
            account = self._account(told, "accountKey")
            made = self._subscriptions.begin(account, told)
            start = made["SubscriptionStartDate"]
            today = self._tenant.now().date()
            target = target_of(told, start if isinstance(start, date) else today)
            return self._told(made, target)

    def subscription(self, key: str, told: Mapping[str, object]) -> Record:
        """``/v1/subscriptions/…/preview``: the next bill of a subscription."""
        known = self._subscriptions.known(key)
        with self._tenant.rehearsal():
            return self._told(known, target_of(told, self._tenant.now().date()))

    def _told(self, subscription: Record, target: date) -> Record:
        whole = self._subscriptions.show(subscription)
        items = self._items(
            [str(subscription["InvoiceOwnerId"])], target, only=[subscription["Name"]]
        )
        total = sum((decimal(item["chargeAmount"]) for item in items), Decimal(0))
        return {
            "amount": json_value(total), "amountWithoutTax": json_value(total), "taxAmount": 0,
            "contractedMrr": whole["contractedMrr"], "targetDate": target.isoformat(),
            "totalContractedValue": whole["totalContractedValue"], "invoiceItems": items,
        }  # fmt: skip

    def order(self, told: Mapping[str, object]) -> Record:
        """``/v1/orders/preview``: the bills of an order."""
        options = told.get("previewOptions")
        if not isinstance(options, dict):
            raise Refused(53400020, "'previewOptions' may not be empty")
        kinds = [each.lower() for each in texts_in(options, "previewTypes")]
        with self._tenant.rehearsal():
            account = self._account(told, "existingAccountNumber")
            placed = self._orders.place(
                {
                    "orderDate": told.get("orderDate"), "subscriptions": told.get("subscriptions"),
                    "existingAccountNumber": account["AccountNumber"],
                }
            )  # fmt: skip
            numbers = placed["subscriptionNumbers"]
            assert isinstance(numbers, list)
            made = [self._subscriptions.known(str(number)) for number in numbers]
            target = self._through(options, made)
            items = self._items([str(account["Id"])], target, only=[each["Name"] for each in made])
            shown = [self._subscriptions.show(each) for each in made]
        result: Record = {}
        if not kinds or "billingdocs" in kinds:
            total = sum((decimal(item["chargeAmount"]) for item in items), Decimal(0))
            invoice: Record = {
                "amount": json_value(total), "amountWithoutTax": json_value(total),
                "taxAmount": 0, "targetDate": target.isoformat(), "invoiceItems": items,
            }  # fmt: skip
            result |= {"invoices": [invoice] if items else [], "creditMemos": []}
        if "chargemetrics" in kinds:
            result["chargeMetrics"] = [
                {
                    "subscriptionNumber": each["subscriptionNumber"],
                    "cmrr": each["contractedMrr"], "tcv": each["totalContractedValue"],
                }
                for each in shown
            ]  # fmt: skip
        return {"previewResult": result}

    def _through(self, options: Mapping[str, object], made: Collection[Record]) -> date:
        """Up to which day an order is previewed: one that was said, or the end of its term."""
        today = self._tenant.now().date()
        if options.get("specificPreviewThruDate"):
            return date_in(options, "specificPreviewThruDate", today)
        ends = (each.get("TermEndDate") for each in made)
        return max((end for end in ends if isinstance(end, date)), default=today)

    def _account(self, told: Mapping[str, object], name: str) -> Record:
        """The account that is named, or one that is only imagined."""
        imagined = told.get("previewAccountInfo")
        if told.get(name) or not isinstance(imagined, dict):
            return self._accounts.known(told.get(name))
        day = imagined.get("billCycleDay")
        return self._tenant.create(
            "Account",
            {
                "Name": "Preview", "AccountNumber": self._tenant.number("A"), "Status": "Active",
                "Currency": str(imagined.get("currency") or "USD"),
                "BillCycleDay": day if isinstance(day, int) and 0 <= day <= 31 else 1,
                "Balance": Decimal(0), "TotalInvoiceBalance": Decimal(0), "Mrr": Decimal(0),
            },
        )  # fmt: skip

    def _items(
        self,
        accounts: Collection[str],
        target: date,
        *,
        only: Collection[object] | None = None,
        left_out: Collection[str] = (),
    ) -> list[Record]:
        """The items of the invoices up to a day."""
        today = self._tenant.now().date()
        excluded = [each.lower() for each in left_out]
        drafts = self._billing.invoice(
            accounts, target, today, only=only, left_out=excluded, is_draft=True
        )
        wanted = {invoice["Id"] for invoice in drafts}
        items = [item for item in self._tenant.rows("InvoiceItem") if item["InvoiceId"] in wanted]
        return [self._item(item) for item in items]

    def _item(self, item: Record) -> Record:
        charge = self._tenant.find("RatePlanCharge", item["RatePlanChargeId"]) or {}
        subscription = self._tenant.find("Subscription", item["SubscriptionId"]) or {}
        product = self._tenant.find("Product", item["ProductId"]) or {}
        told: Record = {
            "id": item["Id"], "subscriptionId": item["SubscriptionId"],
            "subscriptionName": subscription.get("Name"),
            "subscriptionNumber": subscription.get("Name"), "productName": product.get("Name"),
            "chargeId": item["RatePlanChargeId"], "chargeName": item["ChargeName"],
            "chargeNumber": charge.get("ChargeNumber"), "chargeType": charge.get("ChargeType"),
            "chargeDescription": charge.get("Description") or "",
            "productRatePlanChargeId": charge.get("ProductRatePlanChargeId"),
            "chargeAmount": item["ChargeAmount"], "taxAmount": item["TaxAmount"],
            "amountWithoutTax": item["ChargeAmount"], "quantity": item["Quantity"],
            "unitPrice": item["UnitPrice"], "unitOfMeasure": item["UOM"] or "",
            "serviceStartDate": item["ServiceStartDate"], "serviceEndDate": item["ServiceEndDate"],
            "chargeDate": item["ChargeDate"], "processingType": "Charge",
        }  # fmt: skip
        return {name: json_value(value) for name, value in told.items() if value is not None}
