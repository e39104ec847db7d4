"""What Zuora's packages hold in Salesforce: the catalogue, quotes, and the mirror of billing.

Follows from the records of the billing side, day by day. A subscription of many versions is one
record here, as are its charges; a quote stands behind each subscription that came of a deal.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

from meltano_assets.sandbox.company_billing import BillingDesk
from meltano_assets.sandbox.company_sales import KEY_PREFIXES, Record, full_id
from meltano_assets.sandbox.company_world import World

PACKAGE_OBJECTS = tuple(name for name in KEY_PREFIXES if name.startswith(("zqu__", "Zuora__")))


class Packages:
    """Records by day, built in order as they are asked for; ``billing`` gives the desk of a day."""

    def __init__(self, world: World, billing: Callable[[int], BillingDesk]) -> None:
        self._world = world
        self._billing = billing
        self._days: list[dict[str, dict[str, Record]]] = []
        self._live: dict[tuple[str, str], Record] = {}
        self._products: dict[str, str] = {}
        self._crm: dict[str, object] = {}

    def records(self, day: int) -> dict[str, list[Record]]:
        """Object name → full records that came or changed on that day."""
        while len(self._days) <= day:
            self._days.append({name: {} for name in PACKAGE_OBJECTS})
            self._build(len(self._days) - 1)
        return {name: list(records.values()) for name, records in self._days[day].items()}

    def _build(self, day: int) -> None:
        if day == 0:
            world = self._world.salesforce_state(0)
            self._products = {str(p["Name"]): key for key, p in world["Product2"].items()}
        desk = self._billing(day)
        today = desk.records(day)
        for name, mirror in (
            ("Product", self._product),
            ("ProductRatePlan", self._plan),
            ("ProductRatePlanCharge", self._plan_charge),
            ("ProductRatePlanChargeTier", self._tier),
            ("Account", self._account),
        ):
            for record in today.get(name, []):
                mirror(record)
        plans = {str(plan["Id"]): plan for plan in today.get("RatePlan", [])}
        subscriptions = {
            str(record["Id"]): record
            for record in sorted(
                today.get("Subscription", []), key=lambda s: int(str(s["Version"]))
            )
            if record["Status"] != "Expired" or record["Version"] == 1
        }
        for record in subscriptions.values():
            self._subscription(record)
        for charge in today.get("RatePlanCharge", []):
            plan = plans.get(str(charge["RatePlanId"]))
            if plan is not None:
                self._charge(charge, plan, desk.live["Subscription"][str(plan["SubscriptionId"])])

    def _put(self, name: str, key: object, record: Record, **fields: object) -> Record:
        """The record of that key in Zuora, new or changed, with the times that Zuora tells."""
        before = self._live.get((name, str(key)))
        created, changed = _wire(record["CreatedDate"]), _wire(record["UpdatedDate"])
        if before is not None:
            created = before["CreatedDate"]
            changed = max(str(changed), str(before["SystemModstamp"]))
        mine: Record = {
            "Id": before["Id"] if before else self._world.sales.new_id(name),
            "Name": str(fields.pop("Name", record.get("Name")))[:80],
            **{field: _wire(value) for field, value in fields.items()},
            "CreatedDate": created,
            "LastModifiedDate": changed,
            "SystemModstamp": changed,
            "IsDeleted": bool(record.get("Deleted")),
        }
        self._live[name, str(key)] = mine
        self._days[-1][name][str(mine["Id"])] = mine
        return mine

    def _id(self, name: str, key: object) -> object:
        found = self._live.get((name, str(key)))
        return found["Id"] if found else None

    # The catalogue

    def _product(self, record: Record) -> None:
        start, end = record["EffectiveStartDate"], record["EffectiveEndDate"]
        self._put(
            "zqu__ZProduct__c",
            record["Id"],
            record,
            OwnerId=self._owner,
            zqu__ZuoraId__c=record["Id"],
            zqu__SKU__c=record["SKU"],
            zqu__Category__c=record["Category"],
            zqu__Description__c=record.get("Description"),
            zqu__EffectiveStartDate__c=start,
            zqu__EffectiveEndDate__c=end,
            zqu__Active__c=True,
            zqu__Product__c=self._products.get(str(record["Name"])),
        )
        self._put(
            "Zuora__Product__c",
            record["Id"],
            record,
            OwnerId=self._owner,
            Zuora__External_Id__c=record["Id"],
            Zuora__SKU__c=record["SKU"],
            Zuora__Description__c=record.get("Description"),
            Zuora__EffectiveEndDate__c=end,
        )

    def _plan(self, record: Record) -> None:
        self._put(
            "zqu__ProductRatePlan__c",
            record["Id"],
            record,
            zqu__ZuoraId__c=record["Id"],
            zqu__ProductRatePlanFullName__c=record["Name"],
            zqu__Description__c=record.get("Description"),
            zqu__EffectiveStartDate__c=record["EffectiveStartDate"],
            zqu__EffectiveEndDate__c=record["EffectiveEndDate"],
            zqu__ActiveCurrencies__c="USD;EUR;GBP",
            zqu__SyncStatus__c="Synced with Zuora",
            zqu__ZProduct__c=self._id("zqu__ZProduct__c", record["ProductId"]),
            zqu__Product__c=self._products.get(str(record["Name"])),
        )

    def _plan_charge(self, record: Record) -> None:
        self._put(
            "zqu__ProductRatePlanCharge__c",
            record["Id"],
            record,
            OwnerId=self._owner,
            zqu__ZuoraId__c=record["Id"],
            zqu__ProductRatePlanChargeFullName__c=record["Name"],
            zqu__ProductRatePlan__c=self._id(
                "zqu__ProductRatePlan__c", record["ProductRatePlanId"]
            ),
            zqu__Model__c=record["ChargeModel"],
            zqu__Type__c=record["ChargeType"],
            zqu__RecurringPeriod__c=record.get("BillingPeriod"),
            zqu__BillingPeriodAlignment__c=record.get("BillingPeriodAlignment"),
            zqu__AccountingCode__c=record.get("AccountingCode"),
            zqu__ListPriceBase__c=record.get("ListPriceBase"),
            zqu__TriggerEvent__c=record.get("TriggerEvent"),
            zqu__UOM__c=record.get("UOM"),
            zqu__DefaultQuantity__c=record.get("DefaultQuantity"),
            zqu__Taxable__c=record.get("Taxable"),
            zqu__SyncStatus__c="Synced with Zuora",
        )

    def _tier(self, record: Record) -> None:
        charge = record["ProductRatePlanChargeId"]
        self._put(
            "zqu__ProductRatePlanChargeTier__c",
            record["Id"],
            record,
            Name=f"Tier {record['Tier']} {record['Currency']}",
            zqu__ZuoraId__c=record["Id"],
            zqu__ProductRatePlanChargeId__c=charge,
            zqu__ProductRatePlanCharge__c=self._id("zqu__ProductRatePlanCharge__c", charge),
            zqu__Currency__c=record["Currency"],
            zqu__Tier__c=record["Tier"],
            zqu__Price__c=record["Price"],
            zqu__PriceFormat__c=record["PriceFormat"],
            zqu__StartingUnit__c=record.get("StartingUnit"),
            zqu__EndingUnit__c=record.get("EndingUnit"),
            zqu__Active__c=True,
        )

    # The mirror

    @property
    def _owner(self) -> object:
        return next(iter(self._world.live["User"]))

    def _account(self, record: Record) -> None:
        crm = str(record["CrmId"] or "")
        account = full_id(crm[:15]) if crm else None
        self._crm[str(record["Id"])] = account
        self._put(
            "Zuora__CustomerAccount__c",
            record["Id"],
            record,
            Zuora__Zuora_Id__c=record["Id"],
            Zuora__External_Id__c=record["Id"],
            Zuora__Account__c=account,
            Zuora__AccountNumber__c=record["AccountNumber"],
            Zuora__Parent__c=self._id("Zuora__CustomerAccount__c", record["ParentId"]),
            Zuora__Status__c=record["Status"],
            Zuora__Currency__c=record["Currency"],
            Zuora__Batch__c=record["Batch"],
            Zuora__PaymentTerm__c=record["PaymentTerm"],
            Zuora__BillCycleDay__c=str(record["BillCycleDay"]),
            Zuora__SalesRepName__c=record["SalesRepName"],
            Zuora__BillToId__c=record["BillToContactId"],
            Zuora__SoldToId__c=record["SoldToContactId"],
            Zuora__Balance__c=record["Balance"],
            Zuora__CreditBalance__c=record["CreditBalance"],
            Zuora__MRR__c=record["Mrr"],
            Zuora__AutoPay__c=record["AutoPay"],
        )

    def _subscription(self, record: Record) -> None:
        key = record["Name"]
        crm = self._crm.get(str(record["AccountId"]))
        billed = self._id("Zuora__CustomerAccount__c", record["AccountId"])
        self._put(
            "Zuora__Subscription__c",
            key,
            record,
            OwnerId=self._owner,
            Zuora__Zuora_Id__c=record["Id"],
            Zuora__External_Id__c=record["OriginalId"],
            Zuora__SubscriptionNumber__c=key,
            Zuora__Account__c=crm,
            Zuora__CustomerAccount__c=billed,
            Zuora__InvoiceOwner__c=billed,
            Zuora__Status__c=record["Status"],
            Zuora__Version__c=record["Version"],
            Zuora__AutoRenew__c=record["AutoRenew"],
            Zuora__InitialTerm__c=f"{record['InitialTerm']} Months",
            Zuora__RenewalTerm__c=f"{record['RenewalTerm']} Months",
            Zuora__TermSettingType__c=record["TermType"],
            Zuora__TermStartDate__c=record["TermStartDate"],
            Zuora__TermEndDate__c=record["TermEndDate"],
            Zuora__SubscriptionStartDate__c=record["SubscriptionStartDate"],
            Zuora__SubscriptionEndDate__c=record["SubscriptionEndDate"],
            Zuora__ContractEffectiveDate__c=record["ContractEffectiveDate"],
            Zuora__ServiceActivationDate__c=record["ServiceActivationDate"],
            Zuora__OriginalCreated_Date__c=record["OriginalCreatedDate"],
        )
        deal = record["OpportunityId__c"]
        if deal is None or ("zqu__Quote__c", str(key)) in self._live:
            return
        self._put(
            "zqu__Quote__c",
            key,
            record,
            Name=f"Quote for {key}",
            OwnerId=self._owner,
            zqu__Number__c=f"Q-{str(key)[3:]}",
            zqu__Status__c="Sent to Z-Billing",
            zqu__Opportunity__c=deal,
            zqu__Account__c=self._world.live["Opportunity"][str(deal)]["AccountId"],
            zqu__Primary__c=True,
            zqu__SubscriptionType__c="New Subscription",
            zqu__SubscriptionName__c=key,
            zqu__ZuoraSubscriptionId__c=record["OriginalId"],
            zqu__ZuoraAccountId__c=record["AccountId"],
            zqu__InitialTerm__c=record["InitialTerm"],
            zqu__RenewalTerm__c=record["RenewalTerm"],
            zqu__AutoRenew__c=record["AutoRenew"],
            zqu__StartDate__c=record["SubscriptionStartDate"],
            zqu__TermStartDate__c=record["SubscriptionStartDate"],
        )

    def _charge(self, charge: Record, plan: Record, subscription: Record) -> None:
        name = subscription["Name"]
        number = f"{name}:{charge['ChargeNumber']}:{charge['Segment']}"
        self._put(
            "Zuora__SubscriptionProductCharge__c",
            number,
            charge,
            OwnerId=self._owner,
            Zuora__Zuora_Id__c=charge["Id"],
            Zuora__External_Id__c=number,
            Zuora__ChargeNumber__c=charge["ChargeNumber"],
            Zuora__Subscription__c=self._id("Zuora__Subscription__c", name),
            Zuora__Account__c=self._crm.get(str(subscription["AccountId"])),
            Zuora__Product__c=self._id("Zuora__Product__c", plan["ProductId"]),
            Zuora__RatePlanName__c=plan["Name"],
            Zuora__RatePlanId__c=plan["Id"],
            Zuora__Model__c=charge["ChargeModel"],
            Zuora__Type__c=charge["ChargeType"],
            Zuora__BillingPeriod__c=charge.get("BillingPeriod"),
            Zuora__UOM__c=charge.get("UOM"),
            Zuora__Quantity__c=charge.get("Quantity"),
            Zuora__MonthlyRecurringRevenue__c=charge.get("MRR"),
            Zuora__TotalContractValue__c=charge.get("TCV"),
            Zuora__EffectiveStartDate__c=charge.get("EffectiveStartDate"),
            Zuora__EffectiveEndDate__c=charge.get("EffectiveEndDate"),
        )
        quote = self._id("zqu__Quote__c", name)
        if quote is None or ("zqu__QuoteRatePlanCharge__c", number) in self._live:
            return
        key = f"{name}:{plan['ProductRatePlanId']}"
        quoted = self._live.get(("zqu__QuoteRatePlan__c", key)) or self._put(
            "zqu__QuoteRatePlan__c",
            key,
            plan,
            zqu__Quote__c=quote,
            zqu__AmendmentType__c="NewProduct",
            zqu__ProductRatePlanZuoraId__c=plan["ProductRatePlanId"],
            zqu__ProductRatePlan__c=self._id("zqu__ProductRatePlan__c", plan["ProductRatePlanId"]),
            zqu__QuoteProductName__c=plan["Name"],
            zqu__QuoteRatePlanFullName__c=plan["Name"],
        )
        product_charge = charge["ProductRatePlanChargeId"]
        self._put(
            "zqu__QuoteRatePlanCharge__c",
            number,
            charge,
            zqu__QuoteRatePlan__c=quoted["Id"],
            zqu__ProductRatePlanChargeZuoraId__c=product_charge,
            zqu__ProductRatePlanCharge__c=self._id("zqu__ProductRatePlanCharge__c", product_charge),
            zqu__ChargeType__c=charge["ChargeType"],
            zqu__Model__c=charge["ChargeModel"],
            zqu__Period__c=charge.get("BillingPeriod"),
            zqu__UOM__c=charge.get("UOM"),
            zqu__Quantity__c=charge.get("Quantity"),
            zqu__MRR__c=charge.get("MRR"),
            zqu__TCV__c=charge.get("TCV"),
            zqu__Total__c=charge.get("TCV"),
        )


def _wire(value: object) -> object:
    """A value of billing in Salesforce's form."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
    if isinstance(value, date):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value
