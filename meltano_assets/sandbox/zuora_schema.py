"""Zuora's objects as its describe service tells of them: fields, types, contexts, relations.

A field that points to another object is a plain field in ZOQL (context ``soap``) and a join in
exports (``Account.Id``), as at the vendor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from xml.sax.saxutils import escape

#: Field by field what the tenant has, by Zuora's types; audit fields and Id are everywhere.
_TABLE: Mapping[str, Mapping[str, str]] = {
    "Product": {
        "text": "Name SKU Category Description AllowFeatureChanges",
        "date": "EffectiveStartDate EffectiveEndDate",
    },
    "ProductRatePlan": {
        "text": "Name ProductId Description",
        "date": "EffectiveStartDate EffectiveEndDate",
    },
    "ProductRatePlanCharge": {
        "text": """Name ProductRatePlanId ChargeModel ChargeType BillingPeriod
            BillingPeriodAlignment BillCycleType AccountingCode ApplyDiscountTo
            DeferredRevenueAccount Description DiscountLevel LegacyRevenueReporting
            ListPriceBase OverageCalculationOption OverageUnusedUnitsCreditOption
            PriceChangeOption RecognizedRevenueAccount RevenueRecognitionRuleName
            RevRecCode RevRecTriggerCondition SmoothingModel TaxCode TaxMode TriggerEvent
            UOM""",
        "integer": "BillCycleDay NumberOfPeriod SpecificBillingPeriod UpToPeriods",
        "decimal": """DefaultQuantity IncludedUnits MaxQuantity MinQuantity PriceIncreasePercentage""",
        "boolean": """Taxable UseDiscountSpecificAccountingCode UseTenantDefaultForPriceChange""",
    },
    "ProductRatePlanChargeTier": {
        "text": "ProductRatePlanChargeId Currency PriceFormat",
        "integer": "Tier",
        "decimal": """Price DiscountAmount DiscountPercentage IncludedUnits StartingUnit EndingUnit""",
        "boolean": "Active OveragePrice",
    },
    "Account": {
        "text": """Name AccountNumber CrmId ParentId Status Currency Batch BillToContactId
            SoldToContactId CommunicationProfileId CustomerServiceRepName SalesRepName
            DefaultPaymentMethodId InvoiceTemplateId Notes PaymentGateway PaymentTerm
            PurchaseOrderNumber TaxExemptCertificateId TaxExemptCertificateType
            AccountCode__c ConversionRate__c Entity__c Parent__c AdditionalEmailAddresses""",
        "integer": "BillCycleDay",
        "decimal": "Balance CreditBalance Mrr TotalInvoiceBalance",
        "boolean": """AllowInvoiceEdit AutoPay InvoiceDeliveryPrefsEmail InvoiceDeliveryPrefsPrint""",
        "date": "LastInvoiceDate",
    },
    "Contact": {
        "text": """AccountId City Country County State PostalCode Description OtherPhoneType
            TaxRegion FirstName LastName Nickname WorkEmail PersonalEmail WorkPhone
            HomePhone MobilePhone OtherPhone Fax Address1 Address2""",
    },
    "CommunicationProfile": {
        "text": "ProfileName Description",
    },
    "Subscription": {
        "text": """Name AccountId InvoiceOwnerId CreatorAccountId CreatorInvoiceOwnerId
            OriginalId PreviousSubscriptionId Status TermType CurrentTermPeriodType
            InitialTermPeriodType RenewalTermPeriodType RenewalSetting Notes
            ClickThroughEULARequired__c CpqBundleJsonId__QT EndCustomerDetails__c
            Exclude_from_Renewal_Report__c__c OpportunityId__c OpportunityName__QT
            Purchase_Order__c QuoteBusinessType__QT QuoteNumber__QT QuoteType__QT
            RecurlyId__c Renewal_Subscription__c__c""",
        "integer": "Version CurrentTerm InitialTerm RenewalTerm",
        "boolean": "AutoRenew IsInvoiceSeparate ExcludeFromAnalysis__c",
        "date": """TermStartDate TermEndDate SubscriptionStartDate SubscriptionEndDate
            CancelledDate ContractEffectiveDate ContractAcceptanceDate
            ServiceActivationDate OpportunityCloseDate__QT""",
        "datetime": "OriginalCreatedDate",
    },
    "RatePlan": {
        "text": """Name SubscriptionId ProductId ProductRatePlanId AmendmentId AmendmentType""",
    },
    "RatePlanCharge": {
        "text": """Name RatePlanId ProductRatePlanChargeId OriginalId ChargeNumber ChargeModel
            ChargeType BillingPeriod BillingPeriodAlignment BillCycleType AccountingCode
            ApplyDiscountTo Description DiscountLevel EndDateCondition ListPriceBase
            OverageCalculationOption OverageUnusedUnitsCreditOption
            RevenueRecognitionRuleName RevRecCode RevRecTriggerCondition TriggerEvent UOM
            UpToPeriodsType""",
        "integer": """Segment Version BillCycleDay NumberOfPeriods SpecificBillingPeriod UpToPeriods""",
        "decimal": "MRR DMRC TCV DTCV Quantity",
        "boolean": "IsLastSegment",
        "date": """EffectiveStartDate EffectiveEndDate ChargedThroughDate ProcessedThroughDate
            SpecificEndDate TriggerDate""",
    },
    "RatePlanChargeTier": {
        "text": "RatePlanChargeId Currency PriceFormat",
        "integer": "Tier",
        "decimal": """Price DiscountAmount DiscountPercentage IncludedUnits OveragePrice
            StartingUnit EndingUnit""",
    },
    "Amendment": {
        "text": """Name Code SubscriptionId Type Status Description RenewalSetting TermType""",
        "integer": "CurrentTerm RenewalTerm",
        "boolean": "AutoRenew",
        "date": """ContractEffectiveDate CustomerAcceptanceDate EffectiveDate
            ServiceActivationDate TermStartDate""",
    },
    "Invoice": {
        "text": """InvoiceNumber AccountId Status Source SourceId Comments PostedBy
            TransferredToAccounting""",
        "decimal": """Amount AmountWithoutTax Balance TaxAmount TaxExemptAmount AdjustmentAmount
            CreditBalanceAdjustmentAmount PaymentAmount RefundAmount""",
        "boolean": "IncludesOneTime IncludesRecurring IncludesUsage",
        "date": "InvoiceDate DueDate TargetDate LastEmailSentDate",
        "datetime": "PostedDate",
    },
    "InvoiceItem": {
        "text": """InvoiceId SubscriptionId RatePlanChargeId ProductId ChargeName SKU
            AccountingCode AccountingPeriodId AppliedToInvoiceItemId ProcessingType
            TaxCode TaxMode UOM""",
        "decimal": "ChargeAmount Quantity UnitPrice TaxAmount TaxExemptAmount",
        "date": "ServiceStartDate ServiceEndDate RevRecStartDate",
        "datetime": "ChargeDate",
    },
    "InvoiceAdjustment": {
        "text": """AdjustmentNumber AccountId InvoiceId InvoiceNumber Type Status AccountingCode
            ReasonCode ReferenceId Comments CancelledById TransferredToAccounting""",
        "decimal": "Amount ImpactAmount",
        "date": "AdjustmentDate",
        "datetime": "CancelledOn",
    },
    "InvoiceItemAdjustment": {
        "text": """AdjustmentNumber AccountId InvoiceId InvoiceNumber InvoiceItemName SourceId
            SourceType Type Status AccountingCode ReasonCode ReferenceId Comment
            CancelledById TransferredToAccounting""",
        "decimal": "Amount",
        "date": "AdjustmentDate ServiceStartDate ServiceEndDate",
        "datetime": "CancelledDate",
    },
    "CreditBalanceAdjustment": {
        "text": """Number AccountId Type Status AccountingCode Comment ReasonCode ReferenceId
            SourceTransactionId SourceTransactionNumber SourceTransactionType
            TransferredToAccounting""",
        "decimal": "Amount",
        "date": "AdjustmentDate",
        "datetime": "CancelledOn",
    },
    "Payment": {
        "text": """PaymentNumber AccountId Type Status AccountingCode AuthTransactionId
            BankIdentificationNumber Comment GatewayOrderId GatewayResponse
            GatewayResponseCode GatewayState PaymentMethodId PaymentMethodSnapshotId
            ReferenceId SecondPaymentReferenceId SoftDescriptor SoftDescriptorPhone Source
            SourceName TransferredToAccounting""",
        "decimal": "Amount AppliedCreditBalanceAmount RefundAmount",
        "date": "EffectiveDate",
        "datetime": "CancelledOn MarkedForSubmissionOn SettledOn SubmittedOn",
    },
    "InvoicePayment": {
        "text": "InvoiceId PaymentId",
        "decimal": "Amount RefundAmount",
    },
    "Refund": {
        "text": """RefundNumber AccountId Type Status AccountingCode Comment Gateway
            GatewayResponse GatewayResponseCode GatewayState MethodType PaymentMethodId
            ReasonCode ReferenceId SecondRefundReferenceId SoftDescriptor
            SoftDescriptorPhone SourceType TransferredToAccounting""",
        "decimal": "Amount",
        "date": "RefundDate",
        "datetime": """CancelledOn MarkedForSubmissionOn RefundTransactionTime SettledOn SubmittedOn""",
    },
    "RefundInvoicePayment": {
        "text": "RefundId InvoiceId InvoicePaymentId",
        "decimal": "RefundAmount",
    },
    "AccountingCode": {
        "text": "Name Type Category Status GLAccountName GLAccountNumber Notes",
    },
    "AccountingPeriod": {
        "text": "Name Status",
        "integer": "FiscalYear",
        "date": "StartDate EndDate",
    },
    "RevenueChargeSummaryItem": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId""",
        "decimal": "Amount",
    },
    "RevenueEventItem": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId JournalEntryId JournalRunId
            RevenueEventTypeId RevenueEventId RevenueScheduleId""",
        "decimal": "Amount",
    },
    "RevenueEventItemInvoiceItem": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId JournalEntryId JournalRunId
            RevenueEventTypeId InvoiceId InvoiceItemId RevenueEventInvoiceItemId
            RevenueScheduleInvoiceItemId""",
        "decimal": "Amount",
    },
    "RevenueEventItemInvoiceItemAdjustment": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId JournalEntryId JournalRunId
            RevenueEventTypeId InvoiceId InvoiceItemId InvoiceItemAdjustmentId
            RevenueEventInvoiceItemAdjustmentId RevenueScheduleInvoiceItemAdjustmentId""",
        "decimal": "Amount",
    },
    "RevenueScheduleItem": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId RevenueScheduleId""",
        "decimal": "Amount",
    },
    "RevenueScheduleItemInvoiceItem": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId InvoiceId InvoiceItemId
            RevenueScheduleInvoiceItemId""",
        "decimal": "Amount",
    },
    "RevenueScheduleItemInvoiceItemAdjustment": {
        "text": """AccountId AccountingPeriodId AmendmentId BillToContactId Currency
            DefaultPaymentMethodId ParentAccountId ProductId ProductRatePlanChargeId
            ProductRatePlanId RatePlanChargeId RatePlanId RevenueChargeSummaryId
            SoldToContactId SubscriptionId DeferredRevenueAccountingCodeId
            RecognizedRevenueAccountingCodeId InvoiceId InvoiceItemId
            InvoiceItemAdjustmentId RevenueScheduleInvoiceItemAdjustmentId""",
        "decimal": "Amount",
    },
    "RevenueScheduleInvoiceItem": {
        "text": """Number InvoiceId InvoiceItemId Currency FinanceTransactionType ReferenceId
            Rule TransactionNumber""",
        "decimal": "Amount UndistributedAmount",
        "date": """ExchangeRateDate RecognitionPeriodStart RecognitionPeriodEnd
            RevenueScheduleDate TransactionDate""",
    },
}

#: Pointers that exports know as joins: field → (the join's name, the object behind it).
RELATIONS: Mapping[str, tuple[str, str]] = {
    "AccountId": ("Account", "Account"),
    "ParentAccountId": ("ParentAccount", "Account"),
    "BillToContactId": ("BillToContact", "Contact"),
    "SoldToContactId": ("SoldToContact", "Contact"),
    "DefaultPaymentMethodId": ("DefaultPaymentMethod", "PaymentMethod"),
    "PaymentMethodId": ("PaymentMethod", "PaymentMethod"),
    "SubscriptionId": ("Subscription", "Subscription"),
    "AmendmentId": ("Amendment", "Amendment"),
    "RatePlanId": ("RatePlan", "RatePlan"),
    "RatePlanChargeId": ("RatePlanCharge", "RatePlanCharge"),
    "ProductId": ("Product", "Product"),
    "ProductRatePlanId": ("ProductRatePlan", "ProductRatePlan"),
    "ProductRatePlanChargeId": ("ProductRatePlanCharge", "ProductRatePlanCharge"),
    "InvoiceId": ("Invoice", "Invoice"),
    "InvoiceItemId": ("InvoiceItem", "InvoiceItem"),
    "InvoiceItemAdjustmentId": ("InvoiceItemAdjustment", "InvoiceItemAdjustment"),
    "PaymentId": ("Payment", "Payment"),
    "InvoicePaymentId": ("InvoicePayment", "InvoicePayment"),
    "RefundId": ("Refund", "Refund"),
    "AccountingPeriodId": ("AccountingPeriod", "AccountingPeriod"),
    "DeferredRevenueAccountingCodeId": ("DeferredRevenueAccountingCode", "AccountingCode"),
    "RecognizedRevenueAccountingCodeId": ("RecognizedRevenueAccountingCode", "AccountingCode"),
    "JournalEntryId": ("JournalEntry", "JournalEntry"),
    "JournalRunId": ("JournalRun", "JournalRun"),
    "RevenueChargeSummaryId": ("RevenueChargeSummary", "RevenueChargeSummary"),
    "RevenueEventId": ("RevenueEvent", "RevenueEvent"),
    "RevenueEventTypeId": ("RevenueEventType", "RevenueEventType"),
    "RevenueScheduleId": ("RevenueSchedule", "RevenueSchedule"),
    "RevenueScheduleInvoiceItemId": ("RevenueScheduleInvoiceItem", "RevenueScheduleInvoiceItem"),
}
#: Further joins through what is pointed to: object → the joins on the way.
_DEEP: Mapping[str, tuple[str, ...]] = {
    "RatePlan": ("Subscription.Account",),
    "RatePlanCharge": ("RatePlan.Subscription", "RatePlan.Subscription.Account"),
    "RatePlanChargeTier": ("RatePlanCharge.RatePlan",),
    "Amendment": ("Subscription.Account",),
    "InvoiceItem": ("Invoice.Account",),
    "InvoicePayment": ("Invoice.Account",),
}
#: Exports of these cannot say what was deleted.
NO_DELETED = frozenset({"AccountingPeriod"})
#: The SOAP side of the tenant, and with it ZOQL, does not know these.
EXPORT_ONLY = frozenset(name for name in _TABLE if name.startswith("Revenue"))
#: These come with their values only by export; ZOQL may not ask for them.
_ONLY_IN_EXPORTS = frozenset({"TotalInvoiceBalance"})


@dataclass(frozen=True, slots=True)
class Field:
    """One field; ``relation`` is its join where it points to an object."""

    name: str
    type: str
    is_exported: bool
    is_queried: bool
    relation: str | None = None


class ObjectType:
    """One object with its fields by lower-case name and its joins."""

    def __init__(self, name: str, groups: Mapping[str, str]) -> None:
        self.name = name
        self.fields: dict[str, Field] = {}
        known = {"text": "Id CreatedById UpdatedById", "datetime": "CreatedDate UpdatedDate"}
        for groups_of in (known, groups):
            for kind, names in groups_of.items():
                for word in names.split():
                    relation = RELATIONS[word][0] if word in RELATIONS else None
                    self.fields[word.lower()] = Field(
                        word,
                        kind,
                        is_exported=relation is None,
                        is_queried=name not in EXPORT_ONLY and word not in _ONLY_IN_EXPORTS,
                        relation=relation,
                    )
        #: Join by lower-case name → the pointers to follow.
        self.joins: dict[str, tuple[str, ...]] = {}
        self.related: list[tuple[str, str]] = []
        for field in self.fields.values():
            if field.relation is not None:
                self.joins[field.relation.lower()] = (field.name,)
                self.related.append((field.relation, RELATIONS[field.name][1]))
        for path in _DEEP.get(name, ()):
            steps = path.split(".")
            self.joins.setdefault(steps[-1].lower(), tuple(f"{step}Id" for step in steps))
            if (steps[-1], steps[-1]) not in self.related:
                self.related.append((steps[-1], steps[-1]))

    def describe(self, address: str, hidden: frozenset[str] = frozenset()) -> bytes:
        """The answer of ``/v1/describe/{name}``, without the hidden fields."""
        shown = [field for field in self.fields.values() if field.name not in hidden]
        fields = "".join(_field_xml(field) for field in shown)
        related = "".join(
            f'<object href="{escape(address)}/v1/describe/{target}"><name>{join}</name>'
            f"<label>{join}</label></object>"
            for join, target in self.related
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<object href="{escape(address)}/v1/describe/{self.name}"><name>{self.name}</name>'
            f"<label>{self.name}</label><fields>{fields}</fields>"
            f"<related-objects>{related}</related-objects></object>"
        ).encode()


def _field_xml(field: Field) -> str:
    contexts = [("export", field.is_exported), ("soap", field.is_queried)]
    listed = "".join(f"<context>{name}</context>" for name, is_in in contexts if is_in)
    is_custom = "true" if "__" in field.name else "false"
    return (
        f"<field><name>{field.name}</name><label>{field.name}</label>"
        f"<selectable>true</selectable><createable>true</createable><updateable>true</updateable>"
        f"<filterable>true</filterable><custom>{is_custom}</custom><maxlength>255</maxlength>"
        f"<required>false</required><type>{field.type}</type><contexts>{listed}</contexts></field>"
    )


@cache
def object_types() -> Mapping[str, ObjectType]:
    """All objects, by lower-case name."""
    return {name.lower(): ObjectType(name, groups) for name, groups in _TABLE.items()}


def describe_all(address: str) -> bytes:
    """The answer of ``/v1/describe``."""
    listed = "".join(
        f'<object href="{escape(address)}/v1/describe/{kind.name}"><name>{kind.name}</name>'
        f"<label>{kind.name}</label></object>"
        for kind in object_types().values()
    )
    return f'<?xml version="1.0" encoding="UTF-8"?><objects>{listed}</objects>'.encode()
