"""Revenue of invoice lines, spread over months, as Zuora's accountants keep it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from meltano_assets.sandbox.company_catalog import Catalog, decimal, money, month_of, next_month
from meltano_assets.sandbox.company_sales import Record

if TYPE_CHECKING:
    from meltano_assets.sandbox.company_billing import BillingDesk, Subscription


class Revenue:
    """Writes schedules and events of revenue."""

    def __init__(self, desk: BillingDesk, catalog: Catalog) -> None:
        self._desk = desk
        self._catalog = catalog

    def pointers(self, invoice: str, item: Record, month: date) -> dict[str, object]:
        """What every record of revenue says of the line that it comes from."""
        desk = self._desk
        record = desk.live["Invoice"][invoice]
        account = desk.live["Account"][str(record["AccountId"])]
        charge = desk.live["RatePlanCharge"].get(str(item["RatePlanChargeId"]), {})
        return {
            "AccountId": record["AccountId"],
            "ParentAccountId": account["ParentId"],
            "BillToContactId": account["BillToContactId"],
            "SoldToContactId": account["SoldToContactId"],
            "Currency": account["Currency"],
            "AccountingPeriodId": self._catalog.periods.get(month),
            "SubscriptionId": item["SubscriptionId"],
            "RatePlanId": charge.get("RatePlanId"),
            "RatePlanChargeId": item["RatePlanChargeId"],
            "ProductId": item["ProductId"],
            "ProductRatePlanChargeId": charge.get("ProductRatePlanChargeId"),
            "DeferredRevenueAccountingCodeId": self._catalog.codes["Deferred Revenue"],
            "RecognizedRevenueAccountingCodeId": self._catalog.codes["Subscription Revenue"],
            "InvoiceId": invoice,
            "InvoiceItemId": item["Id"],
        }

    def event(self) -> dict[str, object]:
        """What every event of revenue says."""
        return {
            "JournalEntryId": self._desk.new_id(),
            "JournalRunId": None,
            "RevenueEventTypeId": self._catalog.codes["Deferred Revenue"],
        }

    def recognise(
        self, subscription: Subscription, item: Record, at: float, span: tuple[date, date]
    ) -> None:
        """The line's amount becomes revenue in equal months; cents left over go to the last."""
        desk = self._desk
        invoice = str(item["InvoiceId"])
        amount = decimal(item["ChargeAmount"])
        number = desk.number("RevenueSchedule")
        months = [month_of(span[0])]
        while next_month(months[-1]) < span[1]:
            months.append(next_month(months[-1]))
        schedule = desk.put(
            "RevenueScheduleInvoiceItem",
            at,
            Number=f"RS-{number:08d}",
            InvoiceId=invoice,
            InvoiceItemId=item["Id"],
            Currency=subscription.currency,
            FinanceTransactionType="InvoiceItem",
            Rule="Recognize daily over time",
            TransactionNumber=f"INV{number:08d}",
            Amount=amount,
            UndistributedAmount=Decimal(0),
            ExchangeRateDate=desk.date_at(at),
            RecognitionPeriodStart=months[0],
            RecognitionPeriodEnd=span[1],
            RevenueScheduleDate=desk.date_at(at),
            TransactionDate=desk.date_at(at),
        )
        each = money(amount / len(months))
        for place, month in enumerate(months):
            is_last = place == len(months) - 1
            part = amount - each * (len(months) - 1) if is_last else each
            shared = self.pointers(invoice, item, month)
            shared |= {"RevenueChargeSummaryId": schedule["Id"], "Amount": part}
            of_item = {**shared, "RevenueScheduleInvoiceItemId": schedule["Id"]}
            desk.put("RevenueScheduleItemInvoiceItem", at, **of_item)
            plain = {k: v for k, v in shared.items() if k not in ("InvoiceId", "InvoiceItemId")}
            desk.put("RevenueScheduleItem", at, **plain, RevenueScheduleId=schedule["Id"])
            if place:
                continue
            codes = ("DeferredRevenueAccountingCodeId", "RecognizedRevenueAccountingCodeId")
            desk.put(
                "RevenueChargeSummaryItem",
                at,
                **{k: v for k, v in plain.items() if k not in codes},
            )
            event = self.event()
            desk.put(
                "RevenueEventItem",
                at,
                **plain,
                **event,
                RevenueEventId=desk.new_id(),
                RevenueScheduleId=schedule["Id"],
            )
            desk.put(
                "RevenueEventItemInvoiceItem",
                at,
                **of_item,
                **event,
                RevenueEventInvoiceItemId=desk.new_id(),
            )
