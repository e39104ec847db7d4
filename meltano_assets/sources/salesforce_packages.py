"""Salesforce's objects of Zuora's two packages: quotes, and the mirror of the billing system.

An organisation without the package has none of them; its streams are skipped and say so. Fields are
those that the packages and one organisation's administrators made; what another one lacks is left out.
Card numbers and their expiry, which the mirror may hold, are not among them.
"""

from __future__ import annotations

from meltano_assets.sources.salesforce_streams import fields, personal, stream, text
from meltano_assets.streams import Stream

QUOTES, MIRROR = "Zuora Quotes", "Zuora 360"

PACKAGE_STREAMS: tuple[Stream, ...] = (
    stream(
        "zqu_products",
        "zqu__ZProduct__c",
        "Products of the Zuora catalogue, as quotes offer them.",
        *text(
            """CreatedById LastModifiedById Name OwnerId zqu__Category__c zqu__Currency__c
            zqu__Description__c zqu__EffectiveEndDateText__c zqu__EffectiveStartDateText__c
            zqu__Product__c zqu__SKU__c zqu__ZuoraId__c"""
        ),
        *fields(
            "boolean",
            "zqu__Active__c zqu__Allow_Feature_Changes__c zqu__Deleted__c",
        ),
        *fields(
            "date",
            "zqu__EffectiveEndDate__c zqu__EffectiveStartDate__c",
        ),
        *fields(
            "timestamptz",
            "LastReferencedDate LastViewedDate",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_product_rate_plans",
        "zqu__ProductRatePlan__c",
        "Rate plans of the Zuora catalogue.",
        *text(
            """CreatedById LastModifiedById Name zqu__ActiveCurrencies__c
            zqu__Catalog_Sync_History__c zqu__Description__c zqu__EffectiveEndDateText__c
            zqu__EffectiveStartDateText__c zqu__EntityId__c zqu__Price_Summary__c
            zqu__ProductRatePlanFullName__c zqu__Product__c zqu__SyncMessage__c
            zqu__SyncStatus__c zqu__ZProduct__c zqu__ZuoraId__c"""
        ),
        *fields(
            "boolean",
            "zqu__Default__c zqu__Deleted__c",
        ),
        *fields(
            "date",
            "zqu__EffectiveEndDate__c zqu__EffectiveStartDate__c",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_product_rate_plan_charges",
        "zqu__ProductRatePlanCharge__c",
        "Charges of the rate plans of the Zuora catalogue.",
        *text(
            """CreatedById LastModifiedById Name OwnerId zqu__AccountingCode2__c
            zqu__AccountingCode__c zqu__BillCycleDay__c zqu__BillCycleType__c
            zqu__BillingPeriodAlignment__c zqu__Catalog_Sync_History__c
            zqu__DeferredRevenueAccount__c zqu__Description__c zqu__Discount_Level__c
            zqu__EndDateCondition__c zqu__EntityId__c zqu__ListPriceBase__c zqu__Model__c
            zqu__OverageCalculationOption__c zqu__OverageUnusedUnitsCreditOption__c
            zqu__PriceChangeOption__c zqu__PriceTable__c zqu__ProductRatePlanChargeFullName__c
            zqu__ProductRatePlanChargeName__c zqu__ProductRatePlan__c
            zqu__RecognizedRevenueAccount__c zqu__RecurringPeriod__c zqu__RevRecCode2__c
            zqu__RevRecCode__c zqu__RevRecTriggerCondition__c zqu__RevenueRecognitionRuleName__c
            zqu__SmoothingModel__c zqu__SyncMessage__c zqu__SyncStatus__c zqu__TaxCode2__c
            zqu__TaxCode__c zqu__TaxMode__c zqu__TriggerEvent__c zqu__Type__c zqu__UOM__c
            zqu__UptoPeriodsType__c zqu__UsageRecordRatingOption__c zqu__ZUnitOfMeasure__c
            zqu__ZUOM_Id__c zqu__ZuoraId__c"""
        ),
        *fields(
            "boolean",
            """zqu__Apply_Discount_To_One_Time_Charges__c
            zqu__Apply_Discount_To_Recurring_Charges__c zqu__Apply_Discount_To_Usage_Charges__c
            zqu__Deleted__c zqu__Taxable__c zqu__UseDiscountSpecificAccountingCode__c
            zqu__Usetenantdefaultforpricechange__c""",
        ),
        *fields(
            "numeric",
            """zqu__DefaultQuantity__c zqu__Discount_Apply_Type__c zqu__IncludedUnits__c
            zqu__ListPrice__c zqu__MaxQuantity__c zqu__MinQuantity__c zqu__NumberOfPeriod__c
            zqu__PrepaymentPeriods__c zqu__PriceIncreasePercentage__c
            zqu__SpecificBillingPeriod__c zqu__Upto_How_Many_Periods__c""",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_product_rate_plan_charge_tiers",
        "zqu__ProductRatePlanChargeTier__c",
        "Prices of the charges of the Zuora catalogue, by currency and quantity.",
        *text(
            """CreatedById LastModifiedById Name zqu__Catalog_Sync_History__c zqu__Currency2__c
            zqu__Currency__c zqu__EntityId__c zqu__PriceFormat2__c zqu__PriceFormat__c
            zqu__ProductRatePlanChargeId__c zqu__ProductRatePlanCharge__c zqu__SyncMessage__c
            zqu__SyncStatus__c zqu__ZuoraId__c"""
        ),
        *fields(
            "boolean",
            "zqu__Active__c zqu__Deleted__c zqu__IsOveragePrice__c",
        ),
        *fields(
            "numeric",
            """zqu__DiscountAmount__c zqu__DiscountPercentage__c zqu__EndingUnit__c zqu__Price__c
            zqu__StartingUnit__c zqu__Tier__c""",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_quotes",
        "zqu__Quote__c",
        "Quotes made in Salesforce, from which Zuora makes subscriptions.",
        *text(
            """Click_Through_EULA_Contract_Language__c Click_Through_EULA_Test__c
            ClickThroughEULARequired__c CreatedById GitLab_Privacy_URL__c GitLab_Terms_URL__c
            Has_Invoice_Owner__c Invoice_Number__c Invoice_Owner_Account_Id__c
            Invoice_Owner_Account_Type__c Invoice_Owner_VAT_Id__c LastModifiedById Name
            Opportunity_Id__c Opportunity_Stage__c OwnerId Purchase_Order__c
            Quote_Entity_Bank_Information__c Quote_Entity_Beneficiary_Information__c
            Quote_Entity_Contact_Information__c Quote_Entity_Legal_Name__c Quote_Entity__c
            Quote_Opportunity_Amount_Match__c RecordTypeId Related_Subscription__c
            Reseller_Entity_Bank_Information__c Reseller_Entity_Beneficiary_Information__c
            Reseller_Entity_Contact_Information__c Reseller_Entity_Legal_Name__c
            Reseller_Type__c Sold_To_Country_Code__c Subscription_Agreement_Amendments__c
            Subscription_Agreement_Effective_Date_CA__c Subscription_Agreement_Id__c
            VAT_Tax_Id__c zqu__Account__c zqu__AmendmentName__c zqu__Amendment_Name__c
            zqu__ApprovalStatus__c zqu__BillCycleDay__c zqu__BillToContact__c
            zqu__BillingBatch__c zqu__BillingCycleDay__c zqu__BillingEntity__c
            zqu__BillingMethod__c zqu__Calculate_Quote_Metrics_Through__c
            zqu__CancellationEffectiveDate__c zqu__Certificate_Id__c zqu__Certificate_Type__c
            zqu__CommunicationProfile__c zqu__Company_Code__c zqu__Currency__c
            zqu__ElectronicPaymentMethodId__c zqu__ExistSubscriptionId__c
            zqu__Hidden_Subscription_Name__c zqu__InitialTermPeriodType__c zqu__InvoiceId__c
            zqu__InvoiceOwnerId__c zqu__InvoiceOwnerName__c zqu__InvoiceProcessingOption__c
            zqu__InvoiceTemplate__c zqu__Issuing_Jurisdiction__c zqu__Number__c
            zqu__Opportunity__c zqu__ParentQuote__c zqu__PaymentGateway__c zqu__PaymentMethod__c
            zqu__PaymentTerm__c zqu__ProductSelectorVersion__c zqu__QuoteBusinessType__c
            zqu__QuoteTemplate__c zqu__RenewalSetting__c zqu__RenewalTermPeriodType__c
            zqu__SoldToContact__c zqu__Status__c zqu__SubscriptionName__c
            zqu__SubscriptionType__c zqu__Subscription_Name__c zqu__Subscription_Term_Type__c
            zqu__Tax_Exempt_Description__c zqu__Tax_Exempt__c zqu__Terms__c zqu__VAT_Id__c
            zqu__ZuoraAccountId__c zqu__ZuoraConfig__c zqu__ZuoraEntityId__c
            zqu__ZuoraParentBillingAccountId__c zqu__ZuoraParentBillingAccountName__c
            zqu__ZuoraPaymentId__c zqu__ZuoraSubscriptionId__c zqu__Zuora_Account_Number__c"""
        ),
        *personal("CreatedByEmailAddress__c CreatedByFirstName__c CreatedByLastName__c"),
        *personal("zqu__Description__c"),
        *fields(
            "boolean",
            """Has_GitHost_CB__c Invoice_Paid__c Quote_Entity_Override__c
            Send_GitHost_Email_To_Support__c Trigger_Workflow__c zqu__ApplyCreditBalance__c
            zqu__AutoRenew__c zqu__GenerateInvoice__c zqu__InvoiceSeparately__c
            zqu__Is_Charge_Expired__c zqu__Is_Parent_Quote__c zqu__Primary__c
            zqu__ProcessPayment__c zqu__RecordReadOnly__c""",
        ),
        *fields(
            "numeric",
            """Has_GitHost__c InvoiceOwnerPaymentTerms__c Invoice_Amount__c
            Max_Premium_Discount_2__c Max_Premium_Discount__c MRR_Rollup__c
            Max_Ticket_Group_Numeric__c NRV_Roll_Up__c Opportunity_Amount__c
            Previous_Renewal_Term__c Quote_TCV__c Renewal_MRR__c TCV_Including_Discount__c
            zqu__DeltaMRR__c zqu__DeltaTCV__c zqu__InitialTerm__c zqu__MRR__c
            zqu__Previewed_Delta_MRR__c zqu__Previewed_Delta_TCV__c zqu__Previewed_Discount__c
            zqu__Previewed_MRR__c zqu__Previewed_Subtotal__c zqu__Previewed_TCV__c
            zqu__Previewed_Tax__c zqu__Previewed_Total__c zqu__RenewalTerm__c
            zqu__SubscriptionVersion__c zqu__TCV__c zqu__Tax__c zqu__Total__c""",
        ),
        *fields(
            "date",
            """LastActivityDate Original_Contract_Signature_Date__c
            Subscription_Agreement_Effective_Date__c zqu__CancellationDate__c
            zqu__Customer_Acceptance_Date__c zqu__InvoiceDate__c zqu__InvoiceTargetDate__c
            zqu__Service_Activation_Date__c zqu__StartDate__c zqu__SubscriptionTermEndDate__c
            zqu__SubscriptionTermStartDate__c zqu__TermStartDate__c zqu__ValidUntil__c""",
        ),
        *fields(
            "timestamptz",
            "Invoice_Paid_Date__c LastReferencedDate LastViewedDate",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_quote_rate_plans",
        "zqu__QuoteRatePlan__c",
        "Rate plans that a quote offers.",
        *text(
            """CreatedById LastModifiedById Name zqu__AmendmentType__c zqu__EntityId__c
            zqu__OriginalPRPOId__c zqu__Parent__c zqu__ProductRatePlanZuoraId__c
            zqu__ProductRatePlan__c zqu__Product__c zqu__QuoteAmendment__c
            zqu__QuoteProductName__c zqu__QuoteRatePlanFullName__c zqu__QuoteRatePlanZuoraId__c
            zqu__Quote__c zqu__RootQRPId__c zqu__SubscriptionRatePlanZuoraId__c
            zqu__Time_Product_Added__c"""
        ),
        *fields(
            "numeric",
            "Ticket_Group_Numeric__c",
        ),
        package=QUOTES,
    ),
    stream(
        "zqu_quote_rate_plan_charges",
        "zqu__QuoteRatePlanCharge__c",
        "Charges that a quote offers, with quantity, price and discount.",
        *text(
            """CreatedById LastModifiedById Name zqu__BillCycleType__c
            zqu__BillingPeriodAlignment__c zqu__ChargeType__c zqu__Currency__c
            zqu__Description__c zqu__Discount_Level__c zqu__EndDateCondition__c zqu__EntityId__c
            zqu__FeeType__c zqu__ListPriceBase__c zqu__Model__c zqu__Period__c
            zqu__PriceChangeOption__c zqu__ProductName__c zqu__ProductRatePlanChargeZuoraId__c
            zqu__ProductRatePlanCharge__c zqu__QuoteRatePlanChargeFullName__c
            zqu__QuoteRatePlanChargeZuoraId__c zqu__QuoteRatePlan__c zqu__RatePlanName__c
            zqu__SubscriptionRatePlanChargeZuoraId__c zqu__TriggerEvent__c zqu__UOM__c
            zqu__Upto_How_Many_Periods_Type__c"""
        ),
        *fields(
            "boolean",
            """zqu__Apply_Discount_To_One_Time_Charges__c
            zqu__Apply_Discount_To_Recurring_Charges__c zqu__Apply_Discount_To_Usage_Charges__c""",
        ),
        *fields(
            "numeric",
            """Discount_Text__c zqu__BillCycleDay__c zqu__BillingDiscount__c
            zqu__BillingSubtotal__c zqu__BillingTax__c zqu__BillingTotal__c zqu__Discount__c
            zqu__EffectivePrice__c zqu__IncludedUnits__c zqu__ListPrice__c zqu__ListTotal__c
            zqu__MRR__c zqu__PreviewedMRR__c zqu__PreviewedTCV__c
            zqu__PriceIncreasePercentage__c zqu__Quantity__c zqu__SpecificBillingPeriod__c
            zqu__TCV__c zqu__Total__c zqu__Upto_How_Many_Periods__c""",
        ),
        *fields(
            "date",
            "zqu__SpecificEndDate__c zqu__TriggerDate__c",
        ),
        package=QUOTES,
    ),
    stream(
        "zuora_customer_accounts",
        "Zuora__CustomerAccount__c",
        "Billing accounts of Zuora, as Salesforce mirrors them.",
        *text(
            """Account_Id__c Account_Type__c CreatedById LastModifiedById Name
            Sales_Segmentation__c Zuora__Account__c Zuora__AccountNumber__c Zuora__Batch__c
            Zuora__BillCycleDay__c Zuora__BillToCountry__c
            Zuora__BillToId__c Zuora__BillToState__c
            Zuora__CreditCardType__c Zuora__Currency__c Zuora__Default_Payment_Method__c
            Zuora__DefaultPaymentMethod__c Zuora__External_Id__c Zuora__Parent__c
            Zuora__Payment_Term__c Zuora__Payment_Term_Formula__c Zuora__PaymentMethod_Type__c
            Zuora__PaymentMethodType__c Zuora__PaymentTerm__c Zuora__PurchaseOrderNumber__c
            Zuora__SoldToId__c Zuora__Status__c Zuora__Zuora_Id__c"""
        ),
        *personal(
            """Zuora__BillToAddress1__c Zuora__BillToAddress2__c Zuora__BillToCity__c Zuora__BillToFax__c
            Zuora__BillToPostalCode__c
            Zuora__BillToName__c Zuora__BillToWorkEmail__c Zuora__BillToWorkPhone__c
            Zuora__CustomerServiceRepName__c Zuora__SalesRepName__c Zuora__SoldToName__c"""
        ),
        *fields(
            "boolean",
            "Zuora__AutoPay__c Zuora__Is_CRM_Id_Change_Processed__c",
        ),
        *fields(
            "numeric",
            """Employees__c Potential_EE_Users__c Zuora__Balance__c Zuora__Credit_Balance__c
            Zuora__CreditBalance__c Zuora__MRR__c""",
        ),
        *fields(
            "date",
            "LastActivityDate Zuora__LastInvoiceDate__c",
        ),
        package=MIRROR,
    ),
    stream(
        "zuora_products",
        "Zuora__Product__c",
        "Products of Zuora, as Salesforce mirrors them.",
        *text(
            """CreatedById LastModifiedById Name OwnerId Zuora__Description__c
            Zuora__External_Id__c Zuora__SKU__c"""
        ),
        *fields(
            "date",
            "Zuora__EffectiveEndDate__c",
        ),
        package=MIRROR,
    ),
    stream(
        "zuora_subscriptions",
        "Zuora__Subscription__c",
        "Subscriptions of Zuora, as Salesforce mirrors them: one record for all versions.",
        *text(
            """Billing_Account_Id__c CreatedById LastModifiedById Name OwnerId Parent_Account__c
            Products_Purchased__c Salesforce_Account__c Support_Level__c Zuora__Account__c
            Zuora__CustomerAccount__c Zuora__External_Id__c Zuora__InitialTerm__c
            Zuora__InvoiceOwner__c Zuora__RenewalTerm__c Zuora__Status__c
            Zuora__SubscriptionNumber__c Zuora__TermSettingType__c Zuora__Zuora_Id__c"""
        ),
        *personal("Zuora__Notes__c"),
        *fields(
            "boolean",
            "Zuora__AutoRenew__c",
        ),
        *fields(
            "numeric",
            """Acv__c Initial_Term_Calc__c Initial_Term_Numeric__c Previous_MRR__c Zuora__MRR__c
            Zuora__TCV__c Zuora__Version__c""",
        ),
        *fields(
            "date",
            """Initial_Start_Date__c Initial_Subscription_Start_Date__c LastActivityDate
            Term_Start_Month__c Zuora__ContractAcceptanceDate__c Zuora__ContractEffectiveDate__c
            Zuora__NextChargeDate__c Zuora__NextRenewalDate__c Zuora__OriginalCreatedDate__c
            Zuora__ServiceActivationDate__c Zuora__SubscriptionEndDate__c
            Zuora__SubscriptionStartDate__c Zuora__TermEndDate__c Zuora__TermStartDate__c""",
        ),
        *fields(
            "timestamptz",
            "Zuora__OriginalCreated_Date__c",
        ),
        package=MIRROR,
    ),
    stream(
        "zuora_subscription_product_charges",
        "Zuora__SubscriptionProductCharge__c",
        "Charges of the mirrored subscriptions.",
        *text(
            """CreatedById LastModifiedById Name OwnerId Subscription_Status__c Zuora__Account__c
            Zuora__AccountingCode__c Zuora__BillingPeriodStartDay__c Zuora__BillingPeriod__c
            Zuora__ChargeNumber__c Zuora__Description__c Zuora__EndDateCondition__c
            Zuora__External_Id__c Zuora__Model__c Zuora__PriceTable__c
            Zuora__ProductDescription__c Zuora__ProductName_Product__c Zuora__ProductName__c
            Zuora__ProductSKU_Product__c Zuora__ProductSKU__c Zuora__Product__c
            Zuora__RatePlanDescription__c Zuora__RatePlanId__c Zuora__RatePlanName__c
            Zuora__SubscriptionChargeNumber__c Zuora__Subscription__c Zuora__Type__c
            Zuora__UOM__c Zuora__UOM_Formula__c Zuora__UnitOfMeasure__c
            Zuora__UptoPeriodsType__c Zuora__Zuora_Id__c ARatePlan__c"""
        ),
        *fields(
            "boolean",
            """File_Locking_Customer__c GitLab_EE_Customer__c IsBronzeSupportCustomer__c
            IsCIRunnerMacroCustomer__c IsCloudFoundryCustomer__c IsEEBasicCustomer__c
            IsEEPlusCustomer__c IsEEStandardCustomer__c IsGitHostBusinessCustomer__c
            IsGitHostDeveloperCustomer__c IsGitHostStartupCustomer__c
            IsGitHostStorageCustomer__c IsGitLabGeoCustomer__c IsPremiumSupportCustomer__c""",
        ),
        *fields(
            "numeric",
            """Licenses_Divided_By__c Licenses__c Quantity_Override__c
            Subscription_Product_Charge_ARR__c Zuora__ExtendedAmount__c
            Zuora__MonthlyRecurringRevenue__c Zuora__Price__c Zuora__Quantity__c
            Zuora__TotalContractValue__c Zuora__Upto_How_Many_Periods__c""",
        ),
        *fields(
            "date",
            """LastActivityDate Zuora__EffectiveEndDate__c Zuora__EffectiveStartDate__c
            Zuora__ProductEffectiveEndDate_Product__c Zuora__ProductEffectiveEndDate__c
            Zuora__RatePlanEffectiveEndDate__c Zuora__SpecificEndDate__c""",
        ),
        package=MIRROR,
    ),
)
