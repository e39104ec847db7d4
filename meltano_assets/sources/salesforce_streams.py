"""What Salesforce's streams are made of, and the objects that every organisation has.

Belongs here: declarations. Does not belong here: reading (``salesforce.py``), objects that a managed
package brings (``salesforce_packages.py``).
"""

from __future__ import annotations

from datetime import timedelta

from meltano_assets.sources import salesforce_users
from meltano_assets.sources.naming import column_name
from meltano_assets.streams import NEEDED, Column, ColumnType, Stream, Sweep

#: A transaction stamps its records when it writes them and shows them when it commits; Apex and
#: bulk transactions may take minutes, so every read goes this far behind the bookmark.
LOOKBACK = timedelta(minutes=10)

#: When a record was made, changed by a person, and changed at all. Rows of history are only made.
TIMES = ("CreatedDate", "LastModifiedDate", "SystemModstamp")
MADE = ("CreatedDate", "SystemModstamp")

#: ``Stream.options`` key: the managed package that brings the object.
PACKAGE = "package"


def fields(kind: ColumnType, *names: str, is_pii: bool = False) -> tuple[Column, ...]:
    """Columns of one type by the vendor's names; a text may hold several, between blanks."""
    return tuple(
        Column(column_name(name), kind, field=name, is_pii=is_pii)
        for text in names
        for name in text.split()
    )


def text(*names: str) -> tuple[Column, ...]:
    """Columns of text."""
    return fields("text", *names)


def personal(*names: str) -> tuple[Column, ...]:
    """Columns of text about a person."""
    return fields("text", *names, is_pii=True)


def references(*names: str) -> tuple[Column, ...]:
    """Ids that may be of several objects, each with a column that says of which one."""
    return tuple(
        column
        for name in names
        for column in (
            *text(name),
            Column(
                f"{column_name(name.removesuffix('Id'))}_type",
                description=f"The object that {name} belongs to.",
                field=f"{name.removesuffix('Id')}.Type",
            ),
        )
    )


def stream(
    name: str,
    object_name: str,
    description: str,
    *columns: Column,
    has_deleted: bool = True,
    times: tuple[str, ...] = TIMES,
    package: str = "",
    sweep: Sweep | None = None,
) -> Stream:
    """A stream of an object; the last of its ``times`` orders changes.

    An organisation without the ``package`` that brings the object is no failure.
    """
    audit = fields("timestamptz", *times)
    deleted = fields("boolean", "IsDeleted") if has_deleted else ()
    options: dict[str, object] = {"object": object_name, NEEDED: ("is_deleted",)}
    return Stream(
        source="salesforce",
        name=name,
        columns=(*text("Id"), *columns, *audit, *deleted),
        primary_key=("id",),
        replication_key=column_name(times[-1]),
        disposition="upsert",
        description=description,
        lookback=LOOKBACK,
        is_sorted=True,
        options=options | ({PACKAGE: package} if package else {}),
        sweep=sweep,
    )


_AUTHORS = text("CreatedById", "LastModifiedById")
#: When the user of the interface last saw a record or one related to it.
_SEEN = fields("timestamptz", "LastViewedDate", "LastReferencedDate")
_ACTIVITY = fields("date", "LastActivityDate")


def address(prefix: str, *, is_pii: bool = False) -> tuple[Column, ...]:
    """The parts of an address; the codes are those of organisations with picklists of countries."""
    lines = " ".join(f"{prefix}{part}" for part in ("Street", "City", "PostalCode"))
    return (
        *fields("text", lines, is_pii=is_pii),
        *text(f"{prefix}State {prefix}StateCode {prefix}Country {prefix}CountryCode"),
        *fields("numeric", f"{prefix}Latitude {prefix}Longitude", is_pii=is_pii),
        *text(f"{prefix}GeocodeAccuracy"),
    )


_USER = (
    *personal(salesforce_users.PERSONAL),
    *address("", is_pii=True),
    *text(salesforce_users.TEXTS),
    *fields("boolean", salesforce_users.flags()),
    *fields("timestamptz", salesforce_users.TIMES),
    *_AUTHORS,
    *_SEEN,
)

STREAMS: tuple[Stream, ...] = (
    stream(
        "accounts",
        "Account",
        "Companies: customers, prospects and partners.",
        *text("Name", "Type", "Website", "Industry"),
        # Of companies; but some are one person, and people write of people.
        *personal("Description"),
        *fields("bigint", "NumberOfEmployees"),
        *personal("Phone"),
        *text("ParentId", "OwnerId", "AccountSource"),
        *text("Sales_Segmentation__c", "RecordTypeId"),
        *fields("boolean", "Using_CE__c"),
        *fields("numeric", "Active_CE_Users__c"),
        *text("Meltano_Id__c"),
        *address("Billing", is_pii=True),
        *address("Shipping", is_pii=True),
        *text("AccountNumber Site TickerSymbol Ownership Rating Sic SicDesc"),
        *personal("Fax"),
        *fields("numeric", "AnnualRevenue"),
        *fields("boolean", "IsPartner"),
        *text("MasterRecordId JigsawCompanyId PhotoUrl"),
        *_AUTHORS,
        *_ACTIVITY,
        *_SEEN,
    ),
    stream(
        "contacts",
        "Contact",
        "People at an account.",
        *text("AccountId"),
        *personal("FirstName", "LastName", "Email"),
        *text("Title", "LeadSource", "OwnerId"),
        *personal("Name", "Salutation", "Suffix", "Phone", "MobilePhone"),
        *address("Mailing", is_pii=True),
        *text("Department ReportsToId RecordTypeId MasterRecordId JigsawContactId"),
        *personal("PhotoUrl"),
        *fields("boolean", "DoNotCall HasOptedOutOfEmail IsEmailBounced"),
        *text("EmailBouncedReason"),
        *fields("timestamptz", "EmailBouncedDate LastCURequestDate LastCUUpdateDate"),
        *_AUTHORS,
        *_ACTIVITY,
        *_SEEN,
    ),
    stream(
        "leads",
        "Lead",
        "People who showed interest and are not yet contacts of an account.",
        *personal("FirstName", "LastName", "Email"),
        *text("Company", "Title", "Status", "LeadSource", "Industry", "Website"),
        *fields("boolean", "IsConverted"),
        *fields("date", "ConvertedDate"),
        *text("ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId"),
        *fields("date", "MQL_Date__c"),
        *references("OwnerId"),
        *personal("Name", "Salutation", "Suffix", "Phone", "MobilePhone"),
        *address("", is_pii=True),
        *fields("bigint", "NumberOfEmployees"),
        *text("RecordTypeId MasterRecordId JigsawContactId"),
        *personal("PhotoUrl"),
        *fields("boolean", "DoNotCall HasOptedOutOfEmail IsUnreadByOwner"),
        *text("EmailBouncedReason"),
        *fields("timestamptz", "EmailBouncedDate"),
        *_AUTHORS,
        *_ACTIVITY,
        *_SEEN,
    ),
    stream(
        "campaigns",
        "Campaign",
        "Marketing campaigns with their budgets, costs and parents.",
        *text("Name", "Type", "Status"),
        *fields("boolean", "IsActive"),
        *fields("date", "StartDate", "EndDate"),
        *fields("numeric", "BudgetedCost", "ActualCost", "ExpectedRevenue"),
        *text("ParentId", "OwnerId"),
        *text("Description CampaignMemberRecordTypeId"),
        *fields("numeric", "ExpectedResponse NumberSent AmountAllOpportunities"),
        *fields("numeric", "AmountWonOpportunities"),
        *fields("bigint", "NumberOfLeads NumberOfConvertedLeads NumberOfContacts"),
        *fields("bigint", "NumberOfResponses NumberOfOpportunities NumberOfWonOpportunities"),
        *_AUTHORS,
        *_ACTIVITY,
        *_SEEN,
    ),
    stream(
        "campaign_members",
        "CampaignMember",
        "Leads and contacts that a campaign reached, and whether they responded.",
        *text("CampaignId", "LeadId", "ContactId", "Status"),
        *fields("boolean", "HasResponded"),
        *fields("date", "FirstRespondedDate"),
        *text("Type LeadOrContactId LeadOrContactOwnerId LeadSource CompanyOrAccount Title"),
        *personal("Salutation", "City", "State", "Country", "Description"),
        *fields("boolean", "DoNotCall HasOptedOutOfEmail HasOptedOutOfFax"),
        *_AUTHORS,
    ),
    stream(
        "opportunities",
        "Opportunity",
        "Deals with their stage, source and values.",
        *text("AccountId", "Name", "StageName", "Type", "LeadSource"),
        *fields("numeric", "Amount"),
        *fields("date", "CloseDate"),
        *text("CampaignId", "OwnerId"),
        *fields("boolean", "IsClosed", "IsWon"),
        *fields("numeric", "Probability"),
        *fields("date", "Sales_Accepted_Date__c", "Sales_Qualified_Date__c"),
        *text("SQL_Source__c"),
        *fields("numeric", "Incremental_ACV__c", "ACV__c"),
        *text("Sales_Segmentation__c", "Reason_for_Loss__c", "CurrencyIsoCode"),
        *text("RecordTypeId"),
        *personal("Description NextStep"),
        *text("ForecastCategory ForecastCategoryName"),
        *text("Fiscal Pricebook2Id SyncedQuoteId"),
        *fields("integer", "FiscalYear FiscalQuarter"),
        *fields("numeric", "ExpectedRevenue"),
        *fields("boolean", "HasOpportunityLineItem HasOpenActivity HasOverdueTask"),
        *_AUTHORS,
        *_ACTIVITY,
        *_SEEN,
    ),
    stream(
        "products",
        "Product2",
        "What the company sells.",
        *text("Name", "ProductCode", "Description", "Family"),
        *fields("boolean", "IsActive"),
        *_AUTHORS,
        *_SEEN,
    ),
    stream(
        "opportunity_line_items",
        "OpportunityLineItem",
        "Which products a deal consists of, and at what price.",
        *text("OpportunityId", "Product2Id", "PricebookEntryId", "ProductCode", "Name"),
        *fields("numeric", "Quantity", "ListPrice", "UnitPrice", "TotalPrice"),
        *fields("date", "ServiceDate"),
        *text("Description"),
        *fields("integer", "SortOrder"),
        *_AUTHORS,
    ),
    stream(
        "opportunity_history",
        "OpportunityHistory",
        "How a deal's stage, amount, probability and close date changed, since it was made.",
        *text("OpportunityId", "StageName"),
        *fields("numeric", "Amount", "ExpectedRevenue"),
        *fields("date", "CloseDate"),
        *fields("numeric", "Probability"),
        *text("ForecastCategory", "CreatedById"),
        times=MADE,
    ),
    stream(
        "opportunity_field_history",
        "OpportunityFieldHistory",
        "How tracked fields of deals changed, as Salesforce keeps it.",
        *text("OpportunityId", "Field", "OldValue", "NewValue", "CreatedById"),
        times=TIMES[:1],
        # A row goes with its deal, and nothing tells when.
        sweep=Sweep(),
    ),
    stream(
        "users",
        "User",
        "People who work in Salesforce: the owners of the other records.",
        *personal("Username", "Name", "Email"),
        *text("Title", "Department"),
        *fields("boolean", "IsActive"),
        *text("ManagerId", "UserRoleId"),
        *_USER,
        has_deleted=False,
    ),
    stream(
        "hosts",
        "Host__c",
        "Installations seen by pings, one record per host, written back by the sync.",
        *text("Name", "Account__c"),
        # What a ping said, which may be an address.
        *personal("Original_Hostname__c"),
        *fields("numeric", "Host_Users__c"),
        *text("Installation_Type__c"),
        *fields("date", "Last_Ping__c"),
        *text("Raw_Usage_Stats__c", "Raw_Version_Stats__c", "Version_Link__c"),
        *text("GitLab_Version__c", "GitLab_Edition__c", "License_Ids__c"),
        *fields("boolean", "Mattermost_Enabled__c"),
        *text("Host_Data_Source__c", "Meltano_Id__c"),
        *references("OwnerId"),
    ),
    stream(
        "account_history",
        "AccountHistory",
        "How tracked fields of accounts changed, as Salesforce keeps it.",
        *text("AccountId", "Field", "OldValue", "NewValue", "CreatedById"),
        times=TIMES[:1],
        # A row goes with its account, and nothing tells when.
        sweep=Sweep(),
    ),
    stream(
        "opportunity_contact_roles",
        "OpportunityContactRole",
        "People who have a part in a deal.",
        *text("OpportunityId", "ContactId", "Role"),
        *fields("boolean", "IsPrimary"),
        *_AUTHORS,
    ),
    stream(
        "opportunity_stages",
        "OpportunityStage",
        "The stages that a deal may be in, and what each means.",
        *text("MasterLabel", "ApiName", "Description"),
        *text("ForecastCategory", "ForecastCategoryName"),
        *fields("numeric", "DefaultProbability"),
        *fields("integer", "SortOrder"),
        *fields("boolean", "IsActive", "IsClosed", "IsWon"),
        *_AUTHORS,
        has_deleted=False,
    ),
    stream(
        "pricebook_entries",
        "PricebookEntry",
        "What a product costs in a price book.",
        *text("Name", "Pricebook2Id", "Product2Id", "ProductCode"),
        *fields("numeric", "UnitPrice"),
        *fields("boolean", "IsActive", "UseStandardPrice"),
        *_AUTHORS,
    ),
    stream(
        "record_types",
        "RecordType",
        "Kinds of one object's records, made by an administrator.",
        *text("Name", "DeveloperName", "NamespacePrefix", "Description"),
        *text("BusinessProcessId", "SobjectType"),
        *fields("boolean", "IsActive"),
        *_AUTHORS,
        has_deleted=False,
    ),
    stream(
        "user_roles",
        "UserRole",
        "The hierarchy of roles, which says who sees whose records.",
        *text("Name", "ParentRoleId", "DeveloperName", "RollupDescription"),
        *text("OpportunityAccessForAccountOwner", "CaseAccessForAccountOwner"),
        *text("ContactAccessForAccountOwner", "ForecastUserId"),
        *fields("boolean", "MayForecastManagerShare"),
        *text("PortalAccountId", "PortalAccountOwnerId", "PortalType", "PortalRole"),
        *text("LastModifiedById"),
        has_deleted=False,
        times=TIMES[1:],
    ),
    stream(
        "tasks",
        "Task",
        "What was done or is to be done for a person, a deal, an account: calls, mails, to-dos.",
        *references("WhoId", "WhatId"),
        *text("AccountId", "OwnerId"),
        *personal("Subject", "Description"),
        *text("Status", "Priority", "TaskSubtype"),
        *fields("date", "ActivityDate"),
        *fields("integer", "CallDurationInSeconds"),
        *fields("timestamptz", "CompletedDateTime"),
        *fields("boolean", "IsClosed", "IsArchived"),
    ),
    stream(
        "events",
        "Event",
        "Meetings with a person, about a deal or an account.",
        *references("WhoId", "WhatId"),
        *text("AccountId", "OwnerId"),
        *personal("Subject", "Description", "Location"),
        *text("ShowAs"),
        *fields("date", "ActivityDate"),
        *fields("timestamptz", "StartDateTime", "EndDateTime"),
        *fields("integer", "DurationInMinutes"),
        *fields("boolean", "IsAllDayEvent", "IsPrivate", "IsArchived"),
    ),
)
