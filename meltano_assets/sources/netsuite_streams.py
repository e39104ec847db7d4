"""NetSuite's record types, by column: the lists, and the transactions with their lines.

One more record type is one more ``record_stream`` here; without columns it keeps records whole.
Passwords and card data are left out on purpose.
"""

from __future__ import annotations

from datetime import timedelta

from meltano_assets.sources.netsuite_columns import (
    CUSTOM_FIELDS,
    RecordType,
    address,
    dates,
    flags,
    integers,
    lists,
    numbers,
    personal,
    record_stream,
    references,
    texts,
    times,
)
from meltano_assets.sources.netsuite_transactions import (
    APPLICATIONS,
    EXPENSES,
    TRANSACTION_ITEMS,
    TRANSACTION_LINES,
    TRANSACTIONS,
)
from meltano_assets.streams import Column, Stream

ITEMS_DELETED_AS = (
    "assemblyItem", "descriptionItem", "discountItem", "downloadItem", "giftCertificateItem",
    "inventoryItem", "itemGroup", "kitItem", "lotNumberedAssemblyItem", "lotNumberedInventoryItem",
    "markupItem", "nonInventoryPurchaseItem", "nonInventoryResaleItem", "nonInventorySaleItem",
    "otherChargePurchaseItem", "otherChargeResaleItem", "otherChargeSaleItem", "paymentItem",
    "serializedAssemblyItem", "serializedInventoryItem", "servicePurchaseItem",
    "serviceResaleItem", "serviceSaleItem", "subtotalItem",
)  # fmt: skip

_ENTITY_NAMES = ("firstName", "middleName", "lastName", "altName", "phoneticName", "salutation")
_ENTITY_CONTACTS = (
    "email", "altEmail", "phone", "altPhone", "homePhone", "mobilePhone", "fax", "defaultAddress",
    "comments", "printOnCheckAs",
)  # fmt: skip

ACCOUNTS = record_stream(
    "accounts",
    RecordType("Account"),
    "The chart of accounts.",
    *texts("acctNumber", "acctName", "acctType", "legalName", "description"),
    *texts("cashFlowRate", "generalRate", "exchangeRate"),
    *references("parent", "currency", "department", "class", "location", "billableExpensesAcct"),
    *references("deferralAcct", "category1099misc", "unit", "unitsType"),
    *integers("curDocNum"),
    *flags("isInactive", "includeChildren", "inventory", "eliminate", "revalue"),
    *numbers("openingBalance"),
    *dates("tranDate"),
    *lists("subsidiaryList", "restrictToAccountingBookList"),
    CUSTOM_FIELDS,
    descriptions={"acct_type": "Kind of account, as NetSuite names it: _income, _expense, _bank …"},
    is_incremental=False,
)

ACCOUNTING_PERIODS = record_stream(
    "accounting_periods",
    RecordType("AccountingPeriod"),
    "Months, quarters and years of the books, and whether they are closed.",
    *texts("periodName"),
    *references("parent", "fiscalCalendar"),
    *dates("startDate", "endDate"),
    *times("closedOnDate"),
    *flags("isAdjust", "isQuarter", "isYear", "closed", "apLocked", "arLocked", "payrollLocked"),
    *flags("allLocked", "allowNonGLChanges"),
    *lists("fiscalCalendarsList"),
    is_incremental=False,
)

CURRENCIES = record_stream(
    "currencies",
    RecordType(get_all="currency"),
    "Currencies and their rate to the base currency.",
    *texts("name", "symbol", "displaySymbol", "symbolPlacement", "locale", "formatSample"),
    *texts("fxRateUpdateTimezone", "currencyPrecision"),
    *flags("isBaseCurrency", "isInactive", "overrideCurrencyFormat", "inclInFxRateUpdates"),
    *numbers("exchangeRate"),
    descriptions={"symbol": "ISO 4217 code."},
    is_incremental=False,
)

CUSTOMERS = record_stream(
    "customers",
    RecordType("Customer", deleted_as=("customer",)),
    "Customers, and leads and prospects that may become such.",
    *texts("entityId", "companyName", "accountNumber", "stage", "url", "title", "language"),
    *personal(*_ENTITY_NAMES, *_ENTITY_CONTACTS),
    *texts("contribPct", "displaySymbol", "symbolPlacement", "numberFormat"),
    *texts("negativeNumberFormat", "emailPreference", "globalSubscriptionStatus"),
    *texts("alcoholRecipientType", "creditHoldOverride", "monthlyClosing", "vatRegNumber"),
    *texts("resaleNumber", "thirdPartyAcct", "thirdPartyZipcode", "thirdPartyCountry"),
    *texts("webLead", "referrer", "keywords", "clickStream", "lastPageVisited"),
    *references("parent", "subsidiary", "currency", "category", "entityStatus", "leadSource"),
    *references("salesRep", is_pii=True),
    *references("territory", "terms", "priceLevel", "partner", "salesGroup", "taxItem"),
    *references("accessRole", "buyingReason", "buyingTimeFrame", "campaignCategory", "customForm"),
    *references("drAccount", "fxAccount", "image", "openingBalanceAccount", "prefCCProcessor"),
    *references("receivablesAccount", "representingSubsidiary", "salesReadiness", "shippingItem"),
    *numbers("balance", "overdueBalance", "depositBalance", "unbilledOrders", "creditLimit"),
    *numbers("aging", "aging1", "aging2", "aging3", "aging4", "openingBalance"),
    *numbers("consolBalance", "consolOverdueBalance", "consolDepositBalance"),
    *numbers("consolUnbilledOrders", "consolAging", "consolAging1", "consolAging2"),
    *numbers("consolAging3", "consolAging4", "estimatedBudget", "defaultOrderPriority"),
    *integers("daysOverdue", "consolDaysOverdue", "reminderDays", "visits"),
    *flags("isPerson", "isInactive", "taxable", "taxExempt", "billPay", "shipComplete"),
    *flags("emailTransactions", "printTransactions", "faxTransactions", "giveAccess"),
    *flags("isBudgetApproved", "overrideCurrencyFormat", "requirePwdChange", "sendEmail"),
    *flags("syncPartnerTeams"),
    *times("dateCreated", "firstVisit", "lastVisit"),
    *dates("startDate", "endDate", "openingBalanceDate"),
    Column("addressbook_list", "jsonb", field="addressbookList", is_pii=True),
    *lists("contactRolesList", "currencyList", "downloadList", "groupPricingList"),
    *lists("itemPricingList", "partnersList", "salesTeamList", "subscriptionsList"),
    CUSTOM_FIELDS,
    descriptions={
        "entity_id": "The name or number under which people find the customer.",
        "external_id": "Its id in another system: the Salesforce account, where that made it.",
        "stage": "_customer, _prospect or _lead.",
        "balance": "What the customer owes, in its own currency.",
    },
)

DEPARTMENTS = record_stream(
    "departments",
    RecordType("Department"),
    "Departments, to which costs belong.",
    *texts("name"),
    *references("parent"),
    *flags("isInactive", "includeChildren"),
    *lists("subsidiaryList"),
    CUSTOM_FIELDS,
    is_incremental=False,
)

EMPLOYEES = record_stream(
    "employees",
    RecordType("Employee", deleted_as=("employee",)),
    "Who works for the company, or did; what they earn and where they live is not asked for.",
    *personal("entityId", "firstName", "middleName", "lastName", "email"),
    *texts("title"),
    *references("department", "class", "location", "subsidiary", "currency"),
    *references("supervisor", is_pii=True),
    *flags("isInactive"),
    *times("dateCreated"),
    *dates("hireDate", "releaseDate"),
    descriptions={
        "entity_id": "The name or number under which people find the employee.",
        "hire_date": "First day of work.",
        "release_date": "Last day of work.",
    },
)

ITEMS = record_stream(
    "items",
    RecordType("Item", deleted_as=ITEMS_DELETED_AS),
    "What is sold and bought: goods, services, charges, discounts.",
    Column("item_type", "text", "Type of the record: ServiceSaleItem …", field="@type"),
    *texts("itemId", "displayName", "salesDescription", "purchaseDescription", "upcCode"),
    *texts("vendorName", "costEstimateType", "createRevenuePlansOn", "vsoeDeferral"),
    *references("parent", "incomeAccount", "expenseAccount", "cogsAccount", "assetAccount"),
    *references("deferredRevenueAccount", "department", "class", "location", "customForm"),
    *references("unitsType", "saleUnit", "issueProduct", "taxSchedule", "billingSchedule"),
    *references("revRecSchedule", "revenueRecognitionRule", "revenueAllocationGroup"),
    *references("pricingGroup", "costCategory", "itemRevenueCategory", "salesTaxCode"),
    *references("purchaseTaxCode"),
    *numbers("rate", "cost", "costEstimate", "averageCost", "lastPurchasePrice", "totalValue"),
    *flags("isInactive", "isTaxable", "includeChildren", "isFulfillable", "isOnline"),
    *flags("deferRevRec", "availableToPartners", "offerSupport"),
    *times("createdDate"),
    *lists("subsidiaryList", "pricingMatrix", "accountingBookDetailList", "itemVendorList"),
    CUSTOM_FIELDS,
    descriptions={"item_id": "Name or number under which people find it."},
)

SUBSIDIARIES = record_stream(
    "subsidiaries",
    RecordType("Subsidiary"),
    "The companies that keep books of their own.",
    *texts("name", "legalName", "country", "state", "url", "edition", "tranPrefix"),
    *texts("addrLanguage", "consol", "nonConsol", "federalIdNumber", "ssnOrTin"),
    *texts("state1TaxNumber", "email", "fax", "inboundEmail"),
    Column("currency", "text", "Internal id of its currency.", field="currency@internalId"),
    *references("parent", "checkLayout", "fiscalCalendar", "interCoAccount", "logo", "pageLogo"),
    *references("taxFiscalCalendar"),
    *flags("isInactive", "isElimination", "allowPayroll", "showSubsidiaryName"),
    *address("mainAddress"),
    *address("returnAddress"),
    *address("shippingAddress"),
    *numbers("purchaseOrderAmount", "purchaseOrderQuantity", "purchaseOrderQuantityDiff"),
    *numbers("receiptAmount", "receiptQuantity", "receiptQuantityDiff"),
    CUSTOM_FIELDS,
    is_incremental=False,
)

VENDORS = record_stream(
    "vendors",
    RecordType("Vendor", deleted_as=("vendor",)),
    "Who is bought from.",
    *texts("entityId", "companyName", "accountNumber", "url", "title", "bcn"),
    *personal("legalName", *_ENTITY_NAMES, *_ENTITY_CONTACTS, "taxIdNum"),
    *texts("vatRegNumber", "emailPreference", "globalSubscriptionStatus"),
    *references("subsidiary", "currency", "category", "terms", "expenseAccount"),
    *references("payablesAccount", "customForm", "image", "incoterm", "openingBalanceAccount"),
    *references("representingSubsidiary", "taxItem", "workCalendar"),
    *numbers("balance", "balancePrimary", "creditLimit", "openingBalance", "unbilledOrders"),
    *numbers("unbilledOrdersPrimary", "laborCost", "purchaseOrderAmount"),
    *numbers("purchaseOrderQuantity", "purchaseOrderQuantityDiff", "receiptAmount"),
    *numbers("receiptQuantity", "receiptQuantityDiff"),
    *flags("isPerson", "isInactive", "is1099Eligible", "isJobResourceVend", "isAccountant"),
    *flags("billPay", "eligibleForCommission", "emailTransactions", "faxTransactions"),
    *flags("printTransactions", "giveAccess", "requirePwdChange", "sendEmail"),
    *times("dateCreated"),
    *dates("openingBalanceDate"),
    Column("addressbook_list", "jsonb", field="addressbookList", is_pii=True),
    *lists("currencyList", "pricingScheduleList", "rolesList", "subscriptionsList"),
    CUSTOM_FIELDS,
    descriptions={"entity_id": "The name or number under which people find the vendor."},
)

DELETED_RECORDS = Stream(
    source="netsuite",
    name="deleted_records",
    description="Records of any type that were deleted, and when.",
    columns=(
        Column("record_type", "text", "Its type, as invoice or customer.", field="record@type"),
        Column("internal_id", "bigint", "The id it had.", field="record@internalId"),
        Column("external_id", "text", field="record@externalId"),
        Column("type_id", "text", "Type of a custom record.", field="record@typeId"),
        Column("script_id", "text", "Script id of a custom record.", field="record@scriptId"),
        Column("name", "text", "What it was called.", field="record/name", is_pii=True),
        Column("deleted_date", "timestamptz", "When it was deleted.", field="deletedDate"),
    ),
    primary_key=("record_type", "internal_id"),
    replication_key="deleted_date",
    lookback=timedelta(minutes=10),
    options={"record": RecordType()},
)

STREAMS = (
    TRANSACTIONS,
    TRANSACTION_ITEMS,
    TRANSACTION_LINES,
    EXPENSES,
    APPLICATIONS,
    ACCOUNTS,
    ACCOUNTING_PERIODS,
    CURRENCIES,
    CUSTOMERS,
    DELETED_RECORDS,
    DEPARTMENTS,
    EMPLOYEES,
    ITEMS,
    SUBSIDIARIES,
    VENDORS,
)
