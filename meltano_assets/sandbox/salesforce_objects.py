"""Which objects the simulated org has: the company's own, and the standard ones around them.

The objects of the company carry all fields that the product reads or writes, plus the
standard fields that every org shows beside them. Other standard objects exist as they do in a
real org, with the common fields and no records, so that clients which list or probe everything
find what they expect.
"""

from __future__ import annotations

from typing import Any

from meltano_assets.sandbox.salesforce_picklists import (
    INDUSTRIES,
    LEAD_SOURCES,
    SEGMENTS,
    STAGES,
)
from meltano_assets.sandbox.salesforce_schema import Field, Kind, Schema, SObject


def _f(name: str, label: str, kind: Kind = "string", **options: Any) -> Field:
    return Field(name, kind, label, **options)


def _flag(name: str, label: str, *, default: bool = False, **options: Any) -> Field:
    return Field(name, "boolean", label, nillable=False, defaulted=True, default=default, **options)


def _pick(name: str, label: str, *values: str, **options: Any) -> Field:
    return Field(name, "picklist", label, values=values, **options)


def _ref(name: str, label: str, to: str, relationship: str, **options: Any) -> Field:
    refers_to = tuple(to.split(","))
    return Field(
        name, "reference", label, refers_to=refers_to, relationship=relationship, **options
    )


def _number(name: str, label: str, precision: int = 18, scale: int = 0) -> Field:
    return Field(name, "double", label, precision=precision, scale=scale)


def _money(name: str, label: str, scale: int = 2) -> Field:
    return Field(name, "currency", label, precision=18, scale=scale)


def _owner(to: str = "User") -> Field:
    return _ref("OwnerId", "Owner ID", to, "Owner", nillable=False, defaulted=True)


def _external_id(label: str = "Meltano Id") -> Field:
    return Field("Meltano_Id__c", "string", label, external_id=True, unique=True)


def _address(prefix: str, label: str) -> tuple[Field, ...]:
    parts = (
        Field(f"{prefix}Street", "textarea", f"{label} Street"),
        Field(f"{prefix}City", "string", f"{label} City", length=40),
        Field(f"{prefix}State", "string", f"{label} State/Province", length=80),
        Field(f"{prefix}PostalCode", "string", f"{label} Zip/Postal Code", length=20),
        Field(f"{prefix}Country", "string", f"{label} Country", length=80),
    )
    names = tuple(part.name for part in parts)
    compound = Field(
        f"{prefix}Address",
        "address",
        f"{label} Address",
        createable=False,
        updateable=False,
        components=names,
    )
    return (*parts, compound)


def _audit(*, has_deleted: bool = True, is_history: bool = False) -> tuple[Field, ...]:
    def fixed(name: str, label: str, kind: Kind, **options: Any) -> Field:
        return Field(
            name,
            kind,
            label,
            nillable=False,
            createable=False,
            updateable=False,
            defaulted=True,
            **options,
        )

    modified = (
        fixed("LastModifiedDate", "Last Modified Date", "datetime"),
        fixed(
            "LastModifiedById",
            "Last Modified By ID",
            "reference",
            refers_to=("User",),
            relationship="LastModifiedBy",
        ),
    )
    return (
        *((fixed("IsDeleted", "Deleted", "boolean", default=False),) if has_deleted else ()),
        fixed("CreatedDate", "Created Date", "datetime"),
        fixed(
            "CreatedById",
            "Created By ID",
            "reference",
            refers_to=("User",),
            relationship="CreatedBy",
        ),
        *(() if is_history else modified),
        fixed("SystemModstamp", "System Modstamp", "datetime"),
    )


_ID = Field(
    "Id",
    "id",
    "Record ID",
    nillable=False,
    createable=False,
    updateable=False,
    defaulted=True,
)
_PERSON_NAME = "trim(ifnull(\"FirstName\", '') || ' ' || ifnull(\"LastName\", ''))"


def _full_name(length: int = 121) -> Field:
    return Field(
        "Name",
        "string",
        "Full Name",
        length=length,
        nillable=False,
        createable=False,
        updateable=False,
        name_field=True,
        generated=_PERSON_NAME,
    )


def _name(label: str, length: int = 255) -> Field:
    return Field(
        "Name", "string", label, length=length, nillable=False, name_field=True, id_lookup=True
    )


def _object(
    name: str,
    label: str,
    plural: str,
    prefix: str,
    *fields: Field,
    has_deleted: bool = True,
    is_history: bool = False,
) -> SObject:
    audit = _audit(has_deleted=has_deleted, is_history=is_history)
    return SObject(name, label, plural, prefix, (_ID, *fields, *audit), is_writable=not is_history)


_ACCOUNT = _object(
    "Account",
    "Account",
    "Accounts",
    "001",
    _name("Account Name"),
    _pick("Type", "Account Type", "Customer", "Prospect", "Prospect - CE User", "Partner", "Other"),
    _ref(
        "ParentId",
        "Parent Account ID",
        "Account",
        "Parent",
        child_relationship="ChildAccounts",
    ),
    *_address("Billing", "Billing"),
    _f("Phone", "Account Phone", "phone", length=40),
    _f("Website", "Website", "url"),
    _pick("Industry", "Industry", *INDUSTRIES),
    _f("AnnualRevenue", "Annual Revenue", "currency", scale=0),
    _f("NumberOfEmployees", "Employees", "int"),
    _f("Description", "Account Description", "textarea", length=32000),
    _owner(),
    _pick("AccountSource", "Account Source", *LEAD_SOURCES),
    _pick("Sales_Segmentation__c", "Sales Segmentation", *SEGMENTS, restricted=True),
    _flag("Using_CE__c", "Using CE"),
    _number("Active_CE_Users__c", "Active CE Users"),
    _external_id(),
)
_CONTACT = _object(
    "Contact",
    "Contact",
    "Contacts",
    "003",
    _ref("AccountId", "Account ID", "Account", "Account", child_relationship="Contacts"),
    _f("LastName", "Last Name", length=80, nillable=False),
    _f("FirstName", "First Name", length=40),
    _full_name(),
    _f("Phone", "Business Phone", "phone", length=40),
    _f("Email", "Email", "email", length=80, id_lookup=True),
    _f("Title", "Title", length=128),
    _pick("LeadSource", "Lead Source", *LEAD_SOURCES),
    _f("Description", "Contact Description", "textarea", length=32000),
    _owner(),
)
_LEAD = _object(
    "Lead",
    "Lead",
    "Leads",
    "00Q",
    _f("LastName", "Last Name", length=80, nillable=False),
    _f("FirstName", "First Name", length=40),
    _full_name(),
    _f("Title", "Title", length=128),
    _f("Company", "Company", length=255, nillable=False),
    _f("Phone", "Phone", "phone", length=40),
    _f("Email", "Email", "email", length=80, id_lookup=True),
    _f("Website", "Website", "url"),
    _f("Description", "Description", "textarea", length=32000),
    _pick("LeadSource", "Lead Source", *LEAD_SOURCES),
    _pick(
        "Status",
        "Status",
        "Raw",
        "Open",
        "Inquery",
        "Inquiry",
        "MQL",
        "Accepted",
        "Qualifying",
        "Qualified",
        "Nurture",
        "Unqualified",
        "Bad Data",
        "Converted",
        nillable=False,
        defaulted=True,
        default="Raw",
    ),
    _pick("Industry", "Industry", *INDUSTRIES),
    _f("NumberOfEmployees", "Employees", "int"),
    _owner("Group,User"),
    Field(
        "IsConverted",
        "boolean",
        "Converted",
        nillable=False,
        defaulted=True,
        default=False,
        updateable=False,
    ),
    _f("ConvertedDate", "Converted Date", "date", createable=False, updateable=False),
    _ref(
        "ConvertedAccountId",
        "Converted Account ID",
        "Account",
        "ConvertedAccount",
        createable=False,
        updateable=False,
    ),
    _ref(
        "ConvertedContactId",
        "Converted Contact ID",
        "Contact",
        "ConvertedContact",
        createable=False,
        updateable=False,
    ),
    _ref(
        "ConvertedOpportunityId",
        "Converted Opportunity ID",
        "Opportunity",
        "ConvertedOpportunity",
        createable=False,
        updateable=False,
    ),
    _f("MQL_Date__c", "MQL Date", "date"),
)
_CAMPAIGN = _object(
    "Campaign",
    "Campaign",
    "Campaigns",
    "701",
    _name("Name", length=80),
    _ref(
        "ParentId", "Parent Campaign ID", "Campaign", "Parent", child_relationship="ChildCampaigns"
    ),
    _pick(
        "Type",
        "Type",
        "Advertisement",
        "Conference",
        "Content Syndication",
        "Direct Mail",
        "Email",
        "Field Event",
        "Gated Content",
        "Live Event",
        "Owned Event",
        "Paid Social",
        "Partners",
        "Referral Program",
        "Speaking Session",
        "Trade Show",
        "Trial",
        "Webcast",
        "Webinar",
        "Other",
    ),
    _pick(
        "Status",
        "Status",
        "Planned",
        "Planning",
        "In Progress",
        "Completed",
        "Aborted",
        defaulted=True,
        default="Planned",
    ),
    _f("StartDate", "Start Date", "date"),
    _f("EndDate", "End Date", "date"),
    _money("ExpectedRevenue", "Expected Revenue in Campaign"),
    _money("BudgetedCost", "Budgeted Cost in Campaign"),
    _money("ActualCost", "Actual Cost in Campaign"),
    _flag("IsActive", "Active"),
    _f("Description", "Description", "textarea", length=32000),
    _owner(),
)
_CAMPAIGN_MEMBER = _object(
    "CampaignMember",
    "Campaign Member",
    "Campaign Members",
    "00v",
    _ref(
        "CampaignId",
        "Campaign ID",
        "Campaign",
        "Campaign",
        nillable=False,
        updateable=False,
        child_relationship="CampaignMembers",
    ),
    _ref(
        "LeadId",
        "Lead ID",
        "Lead",
        "Lead",
        updateable=False,
        child_relationship="CampaignMembers",
    ),
    _ref(
        "ContactId",
        "Contact ID",
        "Contact",
        "Contact",
        updateable=False,
        child_relationship="CampaignMembers",
    ),
    _pick(
        "Status",
        "Status",
        "Sent",
        "Invited",
        "Registered",
        "Attended",
        "No Show",
        "Downloaded",
        "Member",
        "Influenced",
        "Responded",
        defaulted=True,
        default="Sent",
    ),
    _flag("HasResponded", "Responded", createable=False, updateable=False),
    _f("FirstRespondedDate", "First Responded Date", "date", createable=False, updateable=False),
)
_OPPORTUNITY = _object(
    "Opportunity",
    "Opportunity",
    "Opportunities",
    "006",
    _ref("AccountId", "Account ID", "Account", "Account", child_relationship="Opportunities"),
    _name("Name", length=120),
    _f("Description", "Description", "textarea", length=32000),
    _pick("StageName", "Stage", *(stage[0] for stage in STAGES), nillable=False),
    _money("Amount", "Amount"),
    _f("Probability", "Probability (%)", "percent", precision=3, scale=0, defaulted=True),
    _f("CloseDate", "Close Date", "date", nillable=False),
    _pick("Type", "Opportunity Type", "New Business", "Add-On Business", "Renewal", "Reseller"),
    _pick("LeadSource", "Lead Source", *LEAD_SOURCES),
    _flag("IsClosed", "Closed", createable=False, updateable=False),
    _flag("IsWon", "Won", createable=False, updateable=False),
    _ref("CampaignId", "Campaign ID", "Campaign", "Campaign", child_relationship="Opportunities"),
    _owner(),
    _pick(
        "CurrencyIsoCode",
        "Opportunity Currency",
        "USD",
        "EUR",
        "GBP",
        "CHF",
        "JPY",
        "AUD",
        "CAD",
        "SEK",
        restricted=True,
        defaulted=True,
        default="USD",
    ),
    _f("Sales_Accepted_Date__c", "Sales Accepted Date", "date"),
    _f("Sales_Qualified_Date__c", "Sales Qualified Date", "date"),
    _pick(
        "SQL_Source__c",
        "SQL Source",
        "SDR Generated",
        "BDR Generated",
        "AE Generated",
        "Web Direct",
        "Channel Generated",
        "Marketing",
        restricted=True,
    ),
    _money("Incremental_ACV__c", "Incremental ACV"),
    _money("ACV__c", "ACV"),
    _pick("Sales_Segmentation__c", "Sales Segmentation", *SEGMENTS, restricted=True),
    _pick(
        "Reason_for_Loss__c",
        "Reason for Loss",
        "Budget",
        "Price",
        "Competitor",
        "Lost to Competitor",
        "Do Nothing",
        "No Decision",
        "Insufficient Value",
        "Loss of Budget",
        "Loss of Sponsor",
        "Product Maturity",
        "Product Value / Gaps",
        "Missing Feature",
        "Timing",
        "Unresponsive",
        "Other",
    ),
)
_PRODUCT = _object(
    "Product2",
    "Product",
    "Products",
    "01t",
    _name("Product Name"),
    _f("ProductCode", "Product Code"),
    _f("Description", "Product Description", "textarea", length=4000),
    _pick("Family", "Product Family", "Subscription", "Services", "Add-On"),
    _flag("IsActive", "Active"),
)
_LINE_ITEM = _object(
    "OpportunityLineItem",
    "Opportunity Product",
    "Opportunity Products",
    "00k",
    _ref(
        "OpportunityId",
        "Opportunity ID",
        "Opportunity",
        "Opportunity",
        nillable=False,
        updateable=False,
        child_relationship="OpportunityLineItems",
    ),
    _ref(
        "Product2Id",
        "Product ID",
        "Product2",
        "Product2",
        updateable=False,
        child_relationship="OpportunityLineItems",
    ),
    _f("ProductCode", "Product Code", createable=False, updateable=False),
    _f("Name", "Opportunity Product Name", length=376, createable=False, updateable=False),
    _number("Quantity", "Quantity", scale=2),
    _money("ListPrice", "List Price"),
    _money("UnitPrice", "Sales Price"),
    _money("TotalPrice", "Total Price"),
    _f("ServiceDate", "Date", "date"),
    _f("Description", "Line Description"),
    _f("SortOrder", "Sort Order", "int", createable=False, updateable=False),
)
#: Salesforce writes a row whenever stage, amount, probability or close date change.
_OPPORTUNITY_HISTORY = _object(
    "OpportunityHistory",
    "Opportunity History",
    "Opportunity History",
    "008",
    _ref(
        "OpportunityId",
        "Opportunity ID",
        "Opportunity",
        "Opportunity",
        nillable=False,
        child_relationship="OpportunityHistories",
    ),
    _pick("StageName", "Stage", *(stage[0] for stage in STAGES)),
    _money("Amount", "Amount"),
    _money("ExpectedRevenue", "Expected Revenue"),
    _f("CloseDate", "Close Date", "date"),
    _f("Probability", "Probability (%)", "percent", precision=3),
    _pick(
        "ForecastCategory", "Forecast Category", "Omitted", "Pipeline", "BestCase", "Forecast",
        "Closed",
    ),
    is_history=True,
)  # fmt: skip
_USER = _object(
    "User",
    "User",
    "Users",
    "005",
    _f("Username", "Username", length=80, nillable=False, id_lookup=True),
    _f("LastName", "Last Name", length=80, nillable=False),
    _f("FirstName", "First Name", length=40),
    Field(
        "Name",
        "string",
        "Full Name",
        length=121,
        nillable=False,
        createable=False,
        updateable=False,
        name_field=True,
    ),
    _f("Email", "Email", "email", length=128, nillable=False, id_lookup=True),
    _f("Title", "Title", length=80),
    _f("Department", "Department", length=80),
    _flag("IsActive", "Active", default=True),
    _ref("ManagerId", "Manager ID", "User", "Manager", child_relationship="ManagedUsers"),
    has_deleted=False,
)
_HOST = _object(
    "Host__c",
    "Host",
    "Hosts",
    "a00",
    _owner("Group,User"),
    _name("Host Name", length=80),
    _ref("Account__c", "Account", "Account", "Account__r", child_relationship="Hosts__r"),
    _f("Original_Hostname__c", "Original Hostname"),
    _number("Host_Users__c", "Host Users"),
    _f("Installation_Type__c", "Installation Type"),
    _f("Last_Ping__c", "Last Ping", "date"),
    _f("Raw_Usage_Stats__c", "Raw Usage Stats", "textarea", length=131072),
    _f("Raw_Version_Stats__c", "Raw Version Stats", "textarea", length=131072),
    _f("Version_Link__c", "Version Link", "url"),
    _f("GitLab_Version__c", "GitLab Version"),
    _f("GitLab_Edition__c", "GitLab Edition"),
    _f("License_Ids__c", "License Ids"),
    _flag("Mattermost_Enabled__c", "Mattermost Enabled"),
    _pick(
        "Host_Data_Source__c",
        "Host Data Source",
        "DiscoverOrg",
        "Clearbit",
        "WHOIS",
        restricted=True,
    ),
    _external_id(),
)
_ORGANIZATION = SObject(
    "Organization",
    "Organization",
    "Organizations",
    "00D",
    (
        _ID,
        _f("Name", "Name", length=80, name_field=True),
        _pick("OrganizationType", "Edition", "Enterprise Edition"),
        _flag("IsSandbox", "Is Sandbox"),
        _f("InstanceName", "Instance Name", length=5),
        _f("Country", "Country", length=80),
        *_audit(has_deleted=False),
    ),
    is_writable=False,
)

#: Standard objects that every org has, with their real key prefixes. They hold no records here.
_EMPTY_OBJECTS = (
    "Asset:02i Attachment:00P BusinessHours:01m CampaignMemberStatus:01Y Case:500 "
    "CaseComment:00a CollaborationGroup:0F9 ContentDocument:069 ContentVersion:068 Contract:800 "
    "Dashboard:01Z Document:015 EmailMessage:02s EmailTemplate:00X Entitlement:550 Event:00U "
    "FeedItem:0D5 Folder:00l Group:00G GroupMember:011 Idea:087 LeadHistory:00J "
    "Note:002 OpportunityContactRole:00K OpportunityFieldHistory:017 "
    "OpportunityPartner:00I Order:801 "
    "OrderItem:802 Partner:00H PermissionSet:0PS Pricebook2:01s PricebookEntry:01u "
    "ProcessInstance:04g Profile:00e Quote:0Q0 QuoteLineItem:0QL RecordType:012 "
    "Report:00O ServiceContract:810 Site:0DM Solution:501 StaticResource:081 Task:00T "
    "TopicAssignment:0TO UserRole:00E WorkOrder:0WO"
)


def _empty(entry: str) -> SObject:
    name, prefix = entry.split(":")
    plural = name[:-1] + "ies" if name.endswith("y") else name + "s"
    return _object(name, name, plural, prefix, _name("Name"), _owner())


def build_schema() -> Schema:
    """The org's objects as an administrator sees them."""
    company = (
        _ACCOUNT,
        _CONTACT,
        _LEAD,
        _CAMPAIGN,
        _CAMPAIGN_MEMBER,
        _OPPORTUNITY,
        _PRODUCT,
        _LINE_ITEM,
        _OPPORTUNITY_HISTORY,
        _USER,
        _HOST,
        _ORGANIZATION,
    )
    return Schema((*company, *(_empty(entry) for entry in _EMPTY_OBJECTS.split())))
