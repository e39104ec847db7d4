"""Zuora's objects as streams: which fields, of which types, under which names.

Belongs here: declarations only. How they are read is in ``zuora.py``. A field that a tenant does
not have (custom ones end in ``__c`` or ``__QT``) is left out of the read, its column stays null.
Fields that point to another object (``AccountId``) are named as in ZOQL; exports know them as
joins (``Account.Id``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from meltano_assets.streams import Column, ColumnType, Stream

#: UpdatedDate is stamped when a transaction writes and seen when it commits; bill runs take minutes.
LOOKBACK = timedelta(minutes=15)

#: Objects that AQuA cannot give with deleted records.
NO_DELETED = frozenset({"AccountingPeriod"})


def column_name(field: str) -> str:
    """The raw column of a field: snake case; a custom name keeps its own underscores."""
    if "__" in field:
        return field.lower()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field)
    return spaced.lower()


def _fields(kind: ColumnType, names: str, *, is_pii: bool = False) -> Iterator[Column]:
    for name in names.split():
        yield Column(column_name(name), kind, field=name, is_pii=is_pii)


def _stream(
    name: str,
    object_name: str,
    description: str,
    *,
    text: str = "",
    personal: str = "",
    integer: str = "",
    numeric: str = "",
    boolean: str = "",
    date: str = "",
    time: str = "",
) -> Stream:
    return Stream(
        source="zuora",
        name=name,
        description=description,
        columns=(
            *_fields("text", f"Id {text}"),
            *_fields("text", personal, is_pii=True),
            *_fields("integer", integer),
            *_fields("numeric", numeric),
            *_fields("boolean", boolean),
            *_fields("date", date),
            *_fields("timestamptz", time),
            *_fields("text", "CreatedById UpdatedById"),
            *_fields("timestamptz", "CreatedDate UpdatedDate"),
        ),
        primary_key=("id",),
        replication_key="updated_date",
        lookback=LOOKBACK,
        options={"object": object_name, "has_deleted": object_name not in NO_DELETED},
    )


#: What most objects of revenue recognition point to.
_REVENUE = """AccountId AccountingPeriodId AmendmentId BillToContactId Currency DefaultPaymentMethodId
    ParentAccountId ProductId ProductRatePlanChargeId ProductRatePlanId RatePlanChargeId RatePlanId
    RevenueChargeSummaryId SoldToContactId SubscriptionId"""
_ACCOUNTING = "DeferredRevenueAccountingCodeId RecognizedRevenueAccountingCodeId"
_JOURNAL = "JournalEntryId JournalRunId RevenueEventTypeId"

_CATALOG = (
    _stream(
        "products",
        "Product",
        "What is sold.",
        text="Name SKU Category Description AllowFeatureChanges",
        date="EffectiveStartDate EffectiveEndDate",
    ),
    _stream(
        "product_rate_plans",
        "ProductRatePlan",
        "The plans under which a product is sold.",
        text="Name ProductId Description",
        date="EffectiveStartDate EffectiveEndDate",
    ),
    _stream(
        "product_rate_plan_charges",
        "ProductRatePlanCharge",
        "The charges of a product's plan.",
        text="""Name ProductRatePlanId ChargeModel ChargeType BillingPeriod BillingPeriodAlignment
            BillCycleType AccountingCode ApplyDiscountTo DeferredRevenueAccount Description
            DiscountLevel LegacyRevenueReporting ListPriceBase OverageCalculationOption
            OverageUnusedUnitsCreditOption PriceChangeOption RecognizedRevenueAccount
            RevenueRecognitionRuleName RevRecCode RevRecTriggerCondition SmoothingModel TaxCode
            TaxMode TriggerEvent UOM""",
        integer="BillCycleDay NumberOfPeriod SpecificBillingPeriod UpToPeriods",
        numeric="DefaultQuantity IncludedUnits MaxQuantity MinQuantity PriceIncreasePercentage",
        boolean="Taxable UseDiscountSpecificAccountingCode UseTenantDefaultForPriceChange",
    ),
    _stream(
        "product_rate_plan_charge_tiers",
        "ProductRatePlanChargeTier",
        "List prices of a charge by currency and quantity.",
        text="ProductRatePlanChargeId Currency PriceFormat",
        integer="Tier",
        numeric="Price DiscountAmount DiscountPercentage IncludedUnits StartingUnit EndingUnit",
        boolean="Active OveragePrice",
    ),
)

_CUSTOMERS = (
    _stream(
        "accounts",
        "Account",
        "Billing accounts of customers; CrmId is the account in Salesforce.",
        text="""Name AccountNumber CrmId ParentId Status Currency Batch BillToContactId
            SoldToContactId CommunicationProfileId DefaultPaymentMethodId InvoiceTemplateId
            PaymentGateway PaymentTerm PurchaseOrderNumber TaxExemptCertificateId TaxExemptCertificateType AccountCode__c
            ConversionRate__c Entity__c Parent__c""",
        personal="AdditionalEmailAddresses CustomerServiceRepName SalesRepName Notes",
        integer="BillCycleDay",
        numeric="Balance CreditBalance Mrr TotalInvoiceBalance",
        boolean="AllowInvoiceEdit AutoPay InvoiceDeliveryPrefsEmail InvoiceDeliveryPrefsPrint",
        date="LastInvoiceDate",
    ),
    _stream(
        "contacts",
        "Contact",
        "People whom invoices are billed to or things are sold to.",
        text="AccountId Country County State OtherPhoneType TaxRegion",
        personal="""FirstName LastName Nickname WorkEmail PersonalEmail WorkPhone HomePhone
            MobilePhone OtherPhone Fax Address1 Address2 City PostalCode Description""",
    ),
    _stream(
        "communication_profiles",
        "CommunicationProfile",
        "Which notices an account gets.",
        text="ProfileName Description",
    ),
)

_SUBSCRIPTIONS = (
    _stream(
        "subscriptions",
        "Subscription",
        "Subscriptions in all their versions.",
        text="""Name AccountId InvoiceOwnerId CreatorAccountId CreatorInvoiceOwnerId OriginalId
            PreviousSubscriptionId Status TermType CurrentTermPeriodType InitialTermPeriodType
            RenewalTermPeriodType RenewalSetting ClickThroughEULARequired__c
            CpqBundleJsonId__QT Exclude_from_Renewal_Report__c__c
            OpportunityId__c OpportunityName__QT Purchase_Order__c QuoteBusinessType__QT
            QuoteNumber__QT QuoteType__QT RecurlyId__c Renewal_Subscription__c__c""",
        # What people write.
        personal="Notes EndCustomerDetails__c",
        integer="Version CurrentTerm InitialTerm RenewalTerm",
        boolean="AutoRenew IsInvoiceSeparate ExcludeFromAnalysis__c",
        date="""TermStartDate TermEndDate SubscriptionStartDate SubscriptionEndDate CancelledDate
            ContractEffectiveDate ContractAcceptanceDate ServiceActivationDate
            OpportunityCloseDate__QT""",
        time="OriginalCreatedDate",
    ),
    _stream(
        "rate_plans",
        "RatePlan",
        "The plans of a subscription's version.",
        text="Name SubscriptionId ProductId ProductRatePlanId AmendmentId AmendmentType",
    ),
    _stream(
        "rate_plan_charges",
        "RatePlanCharge",
        "The charges of a subscription's plan, a row for each segment, with MRR and TCV.",
        text="""Name RatePlanId ProductRatePlanChargeId OriginalId ChargeNumber ChargeModel
            ChargeType BillingPeriod BillingPeriodAlignment BillCycleType AccountingCode
            ApplyDiscountTo Description DiscountLevel EndDateCondition ListPriceBase
            OverageCalculationOption OverageUnusedUnitsCreditOption RevenueRecognitionRuleName
            RevRecCode RevRecTriggerCondition TriggerEvent UOM UpToPeriodsType""",
        integer="""Segment Version BillCycleDay NumberOfPeriods SpecificBillingPeriod
            UpToPeriods""",
        numeric="MRR DMRC TCV DTCV Quantity",
        boolean="IsLastSegment",
        date="""EffectiveStartDate EffectiveEndDate ChargedThroughDate ProcessedThroughDate
            SpecificEndDate TriggerDate""",
    ),
    _stream(
        "rate_plan_charge_tiers",
        "RatePlanChargeTier",
        "Prices of a subscription's charge.",
        text="RatePlanChargeId Currency PriceFormat",
        integer="Tier",
        numeric="""Price DiscountAmount DiscountPercentage IncludedUnits OveragePrice StartingUnit
            EndingUnit""",
    ),
    _stream(
        "amendments",
        "Amendment",
        "Changes of subscriptions: products added and removed, renewals, cancellations.",
        text="""Name Code SubscriptionId Type Status Description RenewalSetting TermType""",
        integer="CurrentTerm RenewalTerm",
        boolean="AutoRenew",
        date="""ContractEffectiveDate CustomerAcceptanceDate EffectiveDate ServiceActivationDate
            TermStartDate""",
    ),
)

_INVOICES = (
    _stream(
        "invoices",
        "Invoice",
        "Invoices with their balances.",
        text="InvoiceNumber AccountId Status Source SourceId PostedBy TransferredToAccounting",
        personal="Comments",
        numeric="""Amount AmountWithoutTax Balance TaxAmount TaxExemptAmount AdjustmentAmount
            CreditBalanceAdjustmentAmount PaymentAmount RefundAmount""",
        boolean="IncludesOneTime IncludesRecurring IncludesUsage",
        date="InvoiceDate DueDate TargetDate LastEmailSentDate",
        time="PostedDate",
    ),
    _stream(
        "invoice_items",
        "InvoiceItem",
        "The lines of invoices.",
        text="""InvoiceId SubscriptionId RatePlanChargeId ProductId ChargeName SKU AccountingCode
            AccountingPeriodId AppliedToInvoiceItemId ProcessingType TaxCode TaxMode UOM""",
        numeric="ChargeAmount Quantity UnitPrice TaxAmount TaxExemptAmount",
        date="ServiceStartDate ServiceEndDate RevRecStartDate",
        time="ChargeDate",
    ),
    _stream(
        "invoice_adjustments",
        "InvoiceAdjustment",
        "Corrections of whole invoices.",
        text="""AdjustmentNumber AccountId InvoiceId InvoiceNumber Type Status AccountingCode
            ReasonCode ReferenceId CancelledById TransferredToAccounting""",
        personal="Comments",
        numeric="Amount ImpactAmount",
        date="AdjustmentDate",
        time="CancelledOn",
    ),
    _stream(
        "invoice_item_adjustments",
        "InvoiceItemAdjustment",
        "Corrections of invoice lines.",
        text="""AdjustmentNumber AccountId InvoiceId InvoiceNumber InvoiceItemName SourceId
            SourceType Type Status AccountingCode ReasonCode ReferenceId CancelledById
            TransferredToAccounting""",
        personal="Comment",
        numeric="Amount",
        date="AdjustmentDate ServiceStartDate ServiceEndDate",
        time="CancelledDate",
    ),
    _stream(
        "credit_balance_adjustments",
        "CreditBalanceAdjustment",
        "Money moved into and out of an account's credit balance.",
        text="""Number AccountId Type Status AccountingCode ReasonCode ReferenceId
            SourceTransactionId SourceTransactionNumber SourceTransactionType
            TransferredToAccounting""",
        personal="Comment",
        numeric="Amount",
        date="AdjustmentDate",
        time="CancelledOn",
    ),
)

_PAYMENTS = (
    _stream(
        "payments",
        "Payment",
        "Payments received.",
        text="""PaymentNumber AccountId Type Status AccountingCode AuthTransactionId
            BankIdentificationNumber GatewayOrderId GatewayResponse GatewayResponseCode
            GatewayState PaymentMethodId PaymentMethodSnapshotId ReferenceId
            SecondPaymentReferenceId SoftDescriptor SoftDescriptorPhone Source SourceName
            TransferredToAccounting""",
        personal="Comment",
        numeric="Amount AppliedCreditBalanceAmount RefundAmount",
        date="EffectiveDate",
        time="CancelledOn MarkedForSubmissionOn SettledOn SubmittedOn",
    ),
    _stream(
        "invoice_payments",
        "InvoicePayment",
        "Which payment pays how much of which invoice.",
        text="InvoiceId PaymentId",
        numeric="Amount RefundAmount",
    ),
    _stream(
        "refunds",
        "Refund",
        "Money paid back.",
        text="""RefundNumber AccountId Type Status AccountingCode Gateway GatewayResponse
            GatewayResponseCode GatewayState MethodType PaymentMethodId ReasonCode ReferenceId
            SecondRefundReferenceId SoftDescriptor SoftDescriptorPhone SourceType
            TransferredToAccounting""",
        personal="Comment",
        numeric="Amount",
        date="RefundDate",
        time="CancelledOn MarkedForSubmissionOn RefundTransactionTime SettledOn SubmittedOn",
    ),
    _stream(
        "refund_invoice_payments",
        "RefundInvoicePayment",
        "Which refund takes back how much of which payment of an invoice.",
        text="RefundId InvoiceId InvoicePaymentId",
        numeric="RefundAmount",
    ),
)

_FINANCE = (
    _stream(
        "accounting_codes",
        "AccountingCode",
        "The chart of accounts as Zuora sees it.",
        text="Name Type Category Status GLAccountName GLAccountNumber Notes",
    ),
    _stream(
        "accounting_periods",
        "AccountingPeriod",
        "Accounting months, open and closed.",
        text="Name Status",
        integer="FiscalYear",
        date="StartDate EndDate",
    ),
    _stream(
        "revenue_charge_summary_items",
        "RevenueChargeSummaryItem",
        "Revenue of a charge by accounting period.",
        text=_REVENUE,
        numeric="Amount",
    ),
    _stream(
        "revenue_event_items",
        "RevenueEventItem",
        "Revenue moved by an event, by accounting period.",
        text=f"{_REVENUE} {_ACCOUNTING} {_JOURNAL} RevenueEventId RevenueScheduleId",
        numeric="Amount",
    ),
    _stream(
        "revenue_event_item_invoice_items",
        "RevenueEventItemInvoiceItem",
        "Revenue moved by an event, of one invoice line.",
        text=f"""{_REVENUE} {_ACCOUNTING} {_JOURNAL} InvoiceId InvoiceItemId
            RevenueEventInvoiceItemId RevenueScheduleInvoiceItemId""",
        numeric="Amount",
    ),
    _stream(
        "revenue_event_item_invoice_item_adjustments",
        "RevenueEventItemInvoiceItemAdjustment",
        "Revenue moved by an event, of one correction of an invoice line.",
        text=f"""{_REVENUE} {_ACCOUNTING} {_JOURNAL} InvoiceId InvoiceItemId
            InvoiceItemAdjustmentId RevenueEventInvoiceItemAdjustmentId
            RevenueScheduleInvoiceItemAdjustmentId""",
        numeric="Amount",
    ),
    _stream(
        "revenue_schedule_items",
        "RevenueScheduleItem",
        "Planned revenue by accounting period.",
        text=f"{_REVENUE} {_ACCOUNTING} RevenueScheduleId",
        numeric="Amount",
    ),
    _stream(
        "revenue_schedule_item_invoice_items",
        "RevenueScheduleItemInvoiceItem",
        "Planned revenue by accounting period, of one invoice line.",
        text=f"{_REVENUE} {_ACCOUNTING} InvoiceId InvoiceItemId RevenueScheduleInvoiceItemId",
        numeric="Amount",
    ),
    _stream(
        "revenue_schedule_item_invoice_item_adjustments",
        "RevenueScheduleItemInvoiceItemAdjustment",
        "Planned revenue by accounting period, of one correction of an invoice line.",
        text=f"""{_REVENUE} {_ACCOUNTING} InvoiceId InvoiceItemId InvoiceItemAdjustmentId
            RevenueScheduleInvoiceItemAdjustmentId""",
        numeric="Amount",
    ),
    _stream(
        "revenue_schedule_invoice_items",
        "RevenueScheduleInvoiceItem",
        "The plan by which an invoice line becomes revenue.",
        text="""Number InvoiceId InvoiceItemId Currency FinanceTransactionType ReferenceId Rule
            TransactionNumber""",
        numeric="Amount UndistributedAmount",
        date="""ExchangeRateDate RecognitionPeriodStart RecognitionPeriodEnd RevenueScheduleDate
            TransactionDate""",
    ),
)

STREAMS: tuple[Stream, ...] = (
    *_CATALOG,
    *_CUSTOMERS,
    *_SUBSCRIPTIONS,
    *_INVOICES,
    *_PAYMENTS,
    *_FINANCE,
)
