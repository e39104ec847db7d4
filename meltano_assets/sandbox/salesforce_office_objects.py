"""Standard objects around the company's sales: roles, stages, prices, activities, history."""

from __future__ import annotations

import re

from meltano_assets.sandbox.salesforce_fields import (
    STAMPS,
    field,
    flag,
    money,
    name_field,
    owner,
    pick,
    reference,
    sobject,
)
from meltano_assets.sandbox.salesforce_schema import Field, SObject
from meltano_assets.sandbox.salesforce_standard import standard_fields

_ACCESS = ("None", "Read", "Edit")
#: What an activity may be about, and who may take part in it.
_WHAT = "Account,Asset,Campaign,Case,Contract,Opportunity,Order,Product2,Host__c"
_WHO = "Contact,Lead"


def _activity(children: str) -> tuple[Field, ...]:
    return (
        reference("WhoId", "Name ID", _WHO, "Who", child_relationship=children),
        reference("WhatId", "Related To ID", _WHAT, "What", child_relationship=children),
        field("Subject", "Subject", name_field=True),
        field("ActivityDate", "Date", "date"),
        field("Description", "Description", "textarea", length=32_000),
        reference("AccountId", "Account ID", "Account", "Account", createable=False),
        owner(),
        flag("IsArchived", "Archived", createable=False, updateable=False),
    )


def _history(name: str, of: str, *tracked: str) -> SObject:
    label = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parent = reference(
        f"{of}Id", f"{of} ID", of, of, nillable=False, child_relationship="Histories"
    )
    return sobject(
        name,
        label,
        label,
        "017",
        parent,
        pick("Field", "Changed Field", *tracked),
        field("OldValue", "Old Value"),
        field("NewValue", "New Value"),
        stamps=STAMPS[:1],
    )


OFFICE_OBJECTS = (
    sobject(
        "UserRole",
        "Role",
        "Roles",
        "00E",
        name_field("Name", 80),
        reference("ParentRoleId", "Parent Role ID", "UserRole", "ParentRole"),
        field("DeveloperName", "Developer Name", length=80),
        field("RollupDescription", "Description", length=80),
        pick("OpportunityAccessForAccountOwner", "Opportunity Access Level", *_ACCESS),
        pick("CaseAccessForAccountOwner", "Case Access Level", *_ACCESS),
        pick("ContactAccessForAccountOwner", "Contact Access Level", *_ACCESS),
        reference("ForecastUserId", "User ID", "User", "ForecastUser"),
        flag("MayForecastManagerShare", "May Forecast Manager Share"),
        reference("PortalAccountId", "Account ID", "Account", "PortalAccount"),
        reference("PortalAccountOwnerId", "Portal Account Owner ID", "User", "PortalAccountOwner"),
        pick("PortalType", "Portal Type", "None", "CustomerPortal", "Partner"),
        pick("PortalRole", "Portal Role", "Executive", "Manager", "Worker"),
        has_deleted=False,
        stamps=("LastModifiedDate", "SystemModstamp"),
    ),
    sobject(
        "RecordType",
        "Record Type",
        "Record Types",
        "012",
        name_field("Name", 80),
        field("DeveloperName", "Record Type Name", length=80),
        field("NamespacePrefix", "Namespace Prefix", length=15),
        field("Description", "Description"),
        field("BusinessProcessId", "Business Process ID"),
        pick("SobjectType", "Sobject Type Name", "Account", "Opportunity", "Lead"),
        flag("IsActive", "Active", default=True),
        has_deleted=False,
    ),
    sobject(
        "OpportunityStage",
        "Opportunity Stage",
        "Opportunity Stages",
        "01J",
        field("MasterLabel", "Master Label", name_field=True),
        field("ApiName", "API Name"),
        flag("IsActive", "Is Active"),
        field("SortOrder", "Sort Order", "int"),
        flag("IsClosed", "Closed"),
        flag("IsWon", "Won"),
        pick("ForecastCategory", "Forecast Category", "Omitted", "Pipeline", "Forecast", "Closed"),
        pick("ForecastCategoryName", "Forecast Category Name", "Omitted", "Pipeline", "Commit"),
        field("DefaultProbability", "Probability (%)", "percent", precision=3, scale=0),
        field("Description", "Description"),
        has_deleted=False,
    ),
    sobject(
        "Pricebook2",
        "Price Book",
        "Price Books",
        "01s",
        name_field("Price Book Name"),
        flag("IsActive", "Active"),
        flag("IsStandard", "Is Standard Price Book", createable=False, updateable=False),
        flag("IsArchived", "Archived", createable=False, updateable=False),
        field("Description", "Description"),
    ),
    sobject(
        "PricebookEntry",
        "Price Book Entry",
        "Price Book Entries",
        "01u",
        field("Name", "Product Name", createable=False, updateable=False, name_field=True),
        reference("Pricebook2Id", "Price Book ID", "Pricebook2", "Pricebook2"),
        reference(
            "Product2Id",
            "Product ID",
            "Product2",
            "Product2",
            child_relationship="PricebookEntries",
        ),
        field("ProductCode", "Product Code", createable=False, updateable=False),
        money("UnitPrice", "List Price"),
        flag("IsActive", "Active"),
        flag("UseStandardPrice", "Use Standard Price"),
    ),
    sobject(
        "OpportunityContactRole",
        "Opportunity Contact Role",
        "Opportunity Contact Roles",
        "00K",
        reference(
            "OpportunityId",
            "Opportunity ID",
            "Opportunity",
            "Opportunity",
            nillable=False,
            updateable=False,
            child_relationship="OpportunityContactRoles",
        ),
        reference(
            "ContactId",
            "Contact ID",
            "Contact",
            "Contact",
            nillable=False,
            child_relationship="OpportunityContactRoles",
        ),
        pick("Role", "Role", "Business User", "Decision Maker", "Evaluator", "Executive Sponsor"),
        flag("IsPrimary", "Primary"),
    ),
    sobject(
        "Task",
        "Task",
        "Tasks",
        "00T",
        *_activity("Tasks"),
        pick("Status", "Status", "Not Started", "In Progress", "Completed", nillable=False),
        pick("Priority", "Priority", "High", "Normal", "Low"),
        pick("TaskSubtype", "Task Subtype", "Task", "Call", "Email", restricted=True),
        field("CallDurationInSeconds", "Call Duration", "int"),
        field("CompletedDateTime", "Completed Date", "datetime", createable=False),
        flag("IsClosed", "Closed", createable=False, updateable=False),
        *standard_fields("Task"),
    ),
    sobject(
        "Event",
        "Event",
        "Events",
        "00U",
        *_activity("Events"),
        field("Location", "Location"),
        flag("IsAllDayEvent", "All-Day Event"),
        field("StartDateTime", "Start Date Time", "datetime"),
        field("EndDateTime", "End Date Time", "datetime"),
        field("DurationInMinutes", "Duration", "int"),
        pick("ShowAs", "Show Time As", "Busy", "Free", "OutOfOffice"),
        flag("IsPrivate", "Private"),
        *standard_fields("Event"),
    ),
    # Salesforce writes a row for every tracked field that changes, and nobody changes the row.
    _history("AccountHistory", "Account", "created", "Name", "Type", "Owner", "Industry"),
    _history(
        "OpportunityFieldHistory", "Opportunity", "created", "Name", "StageName", "Amount", "CloseDate",
        "Owner",
    ),
)  # fmt: skip
