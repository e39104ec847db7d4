"""Salesforce: sales objects by REST query, by Bulk API 2.0 where a stream is long.

Paging: ``nextRecordsUrl`` of at most 2,000 records, or result locators of a bulk job; both ways
deliver the same rows. Limits: a daily count of API requests, told in ``Sforce-Limit-Info``.
Deletes: ``queryAll`` returns what lies in the recycle bin with ``IsDeleted``; such a record gets
``_deleted_at``. Changes are ordered by ``SystemModstamp``, which also moves on changes made by
the system. Not here: writing to Salesforce (``salesforce_sync``).
"""

from __future__ import annotations

import re
from datetime import timedelta

from meltano_assets.streams import Column, ColumnType, Stream

#: A transaction stamps its records when it writes them and shows them when it commits; Apex and
#: bulk transactions may take minutes, so every read goes this far behind the bookmark.
LOOKBACK = timedelta(minutes=10)


def column_name(field: str) -> str:
    """The raw column of an API field: snake case; a custom name keeps its own underscores."""
    if field.endswith(("__c", "__r")):
        return field.lower()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", field)
    return spaced.lower()


def _fields(kind: ColumnType, *fields: str, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(column_name(name), kind, field=name, is_pii=is_pii) for name in fields)


def _text(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields)


def _personal(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields, is_pii=True)


def _stream(
    name: str, object_name: str, description: str, *columns: Column, has_deleted: bool = True
) -> Stream:
    audit = _fields("timestamptz", "CreatedDate", "LastModifiedDate", "SystemModstamp")
    deleted = _fields("boolean", "IsDeleted") if has_deleted else ()
    return Stream(
        source="salesforce",
        name=name,
        columns=(*_text("Id"), *columns, *audit, *deleted),
        primary_key=("id",),
        replication_key="system_modstamp",
        disposition="upsert",
        description=description,
        lookback=LOOKBACK,
        is_sorted=True,
        options={"object": object_name},
    )


STREAMS: tuple[Stream, ...] = (
    _stream(
        "accounts",
        "Account",
        "Companies: customers, prospects and partners.",
        *_text("Name", "Type", "Website", "Industry", "Description"),
        *_fields("bigint", "NumberOfEmployees"),
        *_text("Phone", "BillingCountry", "ParentId", "OwnerId", "AccountSource"),
        *_text("Sales_Segmentation__c"),
        *_fields("boolean", "Using_CE__c"),
        *_fields("numeric", "Active_CE_Users__c"),
        *_text("Meltano_Id__c"),
    ),
    _stream(
        "contacts",
        "Contact",
        "People at an account.",
        *_text("AccountId"),
        *_personal("FirstName", "LastName", "Email"),
        *_text("Title", "LeadSource", "OwnerId"),
    ),
    _stream(
        "leads",
        "Lead",
        "People who showed interest and are not yet contacts of an account.",
        *_personal("FirstName", "LastName", "Email"),
        *_text("Company", "Title", "Status", "LeadSource", "Industry", "Website"),
        *_fields("boolean", "IsConverted"),
        *_fields("date", "ConvertedDate"),
        *_text("ConvertedAccountId", "ConvertedContactId", "ConvertedOpportunityId"),
        *_fields("date", "MQL_Date__c"),
        *_text("OwnerId"),
    ),
    _stream(
        "campaigns",
        "Campaign",
        "Marketing campaigns with their budgets, costs and parents.",
        *_text("Name", "Type", "Status"),
        *_fields("boolean", "IsActive"),
        *_fields("date", "StartDate", "EndDate"),
        *_fields("numeric", "BudgetedCost", "ActualCost", "ExpectedRevenue"),
        *_text("ParentId", "OwnerId"),
    ),
    _stream(
        "campaign_members",
        "CampaignMember",
        "Leads and contacts that a campaign reached, and whether they responded.",
        *_text("CampaignId", "LeadId", "ContactId", "Status"),
        *_fields("boolean", "HasResponded"),
        *_fields("date", "FirstRespondedDate"),
    ),
    _stream(
        "opportunities",
        "Opportunity",
        "Deals with their stage, source and values.",
        *_text("AccountId", "Name", "StageName", "Type", "LeadSource"),
        *_fields("numeric", "Amount"),
        *_fields("date", "CloseDate"),
        *_text("CampaignId", "OwnerId"),
        *_fields("boolean", "IsClosed", "IsWon"),
        *_fields("numeric", "Probability"),
        *_fields("date", "Sales_Accepted_Date__c", "Sales_Qualified_Date__c"),
        *_text("SQL_Source__c"),
        *_fields("numeric", "Incremental_ACV__c", "ACV__c"),
        *_text("Sales_Segmentation__c", "Reason_for_Loss__c", "CurrencyIsoCode"),
    ),
    _stream(
        "users",
        "User",
        "People who work in Salesforce: the owners of the other records.",
        *_personal("Username", "Name", "Email"),
        *_text("Title", "Department"),
        *_fields("boolean", "IsActive"),
        *_text("ManagerId"),
        has_deleted=False,
    ),
    _stream(
        "hosts",
        "Host__c",
        "Installations seen by pings, one record per host, written back by the sync.",
        *_text("Name", "Account__c", "Original_Hostname__c"),
        *_fields("numeric", "Host_Users__c"),
        *_text("Installation_Type__c"),
        *_fields("date", "Last_Ping__c"),
        *_text("Raw_Usage_Stats__c", "Raw_Version_Stats__c", "Version_Link__c"),
        *_text("GitLab_Version__c", "GitLab_Edition__c", "License_Ids__c"),
        *_fields("boolean", "Mattermost_Enabled__c"),
        *_text("Host_Data_Source__c", "Meltano_Id__c", "OwnerId"),
    ),
)
