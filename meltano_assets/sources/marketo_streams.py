"""Marketo's leads, activities, programs and lists as streams: their columns and where they are read.

Belongs here: declarations only. How exports are ordered and read is in ``marketo.py``.
"""

from __future__ import annotations

from datetime import timedelta

from meltano_assets.sources.naming import column_name
from meltano_assets.sources.rest import (
    CursorPaging,
    Endpoint,
    OffsetPaging,
)
from meltano_assets.streams import (
    Column,
    ColumnType,
    Disposition,
    Stream,
    Sweep,
)

#: ``updatedAt`` has whole seconds, and a lead that is being written shows a moment later.
LEAD_LOOKBACK = timedelta(minutes=10)
#: Activities that other systems report (opens, bounces, CRM syncs) are filed behind their time.
ACTIVITY_LOOKBACK = timedelta(hours=2)


TOKENS = CursorPaging("nextPageToken", found_at="nextPageToken", size_param="batchSize", size=300)


def _fields(kind: ColumnType, *fields: str, is_pii: bool = False) -> tuple[Column, ...]:
    return tuple(Column(column_name(name), kind, field=name, is_pii=is_pii) for name in fields)


def _text(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields)


def _personal(*fields: str) -> tuple[Column, ...]:
    return _fields("text", *fields, is_pii=True)


def _column(field: str, kind: ColumnType, description: str, *, is_pii: bool = False) -> Column:
    return Column(column_name(field), kind, description, field=field, is_pii=is_pii)


LEADS = Stream(
    source="marketo",
    name="leads",
    description="People whom marketing knows: leads and contacts of Salesforce among them.",
    columns=(
        Column("id", "bigint", "Marketo's number of the person."),
        _column("createdAt", "timestamptz", "When Marketo first knew the person."),
        _column("updatedAt", "timestamptz", "When any field last changed."),
        *_personal("email", "salutation", "firstName", "middleName", "lastName"),
        *_personal("phone", "mobilePhone", "fax", "address", "city", "postalCode"),
        *_text("state", "country", "title", "department", "personTimeZone", "personType"),
        *_fields("date", "dateOfBirth", is_pii=True),
        *_text("company", "site", "website", "mainPhone", "industry", "sicCode"),
        *_text("billingStreet", "billingCity", "billingState", "billingCountry"),
        *_text("billingPostalCode", "externalCompanyId", "externalSalesPersonId"),
        *_fields("numeric", "annualRevenue"),
        *_fields("integer", "numberOfEmployees"),
        _column("contactCompany", "bigint", "Marketo's number of the company."),
        _column("sfdcType", "text", "Lead or Contact, where Salesforce has the person."),
        _column("sfdcId", "text", "The person's id in Salesforce, of either kind."),
        _column("sfdcLeadId", "text", "The person's id as a lead of Salesforce."),
        _column("sfdcContactId", "text", "The person's id as a contact of Salesforce."),
        _column("sfdcAccountId", "text", "The id of the contact's account in Salesforce."),
        _column("sfdcLeadOwnerId", "text", "The id of the owner in Salesforce."),
        *_text("leadSource", "leadStatus", "leadRole", "rating"),
        _column("leadScore", "integer", "How much interest and fit the scoring campaigns see."),
        *_fields("integer", "priority", "relativeScore", "relativeUrgency"),
        *_fields("double precision", "urgency"),
        _column("leadPartitionId", "bigint", "The partition that holds the person."),
        _column("leadPerson", "bigint", "The person behind the lead."),
        *_fields("bigint", "personPrimaryLeadInterest"),
        _column("acquisitionProgramId", "bigint", "The program that brought the person."),
        _column("mktoAcquisitionDate", "timestamptz", "When that program brought the person."),
        *_fields("bigint", "leadRevenueCycleModelId", "leadRevenueStageId"),
        *_text("originalSourceType", "originalSourceInfo", "originalSearchEngine"),
        *_text("originalSearchPhrase", "originalReferrer"),
        *_text("registrationSourceType", "registrationSourceInfo"),
        *_personal("mktoName", "anonymousIP", "cookies"),
        *_text("inferredCompany", "inferredCountry", "inferredCity", "inferredStateRegion"),
        *_text("inferredPostalCode", "inferredMetropolitanArea", "inferredPhoneAreaCode"),
        *_fields("boolean", "mktoIsPartner", "isLead", "mktoIsCustomer", "isAnonymous"),
        *_fields("boolean", "emailInvalid", "unsubscribed", "doNotCall"),
        *_text("emailInvalidCause", "unsubscribedReason", "mktoDoNotCallCause", "doNotCallReason"),
        *_fields("boolean", "marketingSuspended", "blackListed", "emailSuspended"),
        *_text("marketingSuspendedCause", "blackListedCause", "emailSuspendedCause"),
        *_fields("timestamptz", "emailSuspendedAt"),
        *_personal("mktoPersonNotes"),
        *_text("mktoCompanyNotes"),
    ),
    primary_key=("id",),
    replication_key="updated_at",
    lookback=LEAD_LOOKBACK,
)

ACTIVITIES = Stream(
    source="marketo",
    name="activities",
    description="What leads did and what happened to them: an event each.",
    columns=(
        _column("marketoGUID", "text", "Identifies the activity."),
        _column("leadId", "bigint", "Whose activity it is."),
        _column("activityDate", "timestamptz", "When it happened."),
        _column("activityTypeId", "integer", "What it was, see activity_types."),
        _column("campaignId", "bigint", "The smart campaign that caused it."),
        _column("primaryAttributeValueId", "bigint", "The asset, where the type has one."),
        _column("primaryAttributeValue", "text", "Its name, or a value.", is_pii=True),
        _column("attributes", "jsonb", "The type's other attributes by name.", is_pii=True),
    ),
    primary_key=("marketo_guid",),
    replication_key="activity_date",
    lookback=ACTIVITY_LOOKBACK,
)

PROGRAM_MEMBERS = Stream(
    source="marketo",
    name="program_members",
    description="Which lead is in which program, and how far it came there.",
    columns=(
        _column("programId", "bigint", "The program."),
        _column("leadId", "bigint", "The lead."),
        _column("program", "text", "The program's name."),
        _column("statusName", "text", "The status in the program's channel."),
        _column("statusReason", "text", "Why the status was set."),
        _column("membershipDate", "timestamptz", "When the lead became a member."),
        _column("reachedSuccess", "boolean", "Whether the status counts as success."),
        _column("reachedSuccessDate", "timestamptz", "When it first did."),
        _column("acquiredBy", "boolean", "Whether the program brought the lead."),
        _column("isExhausted", "boolean", "Whether a nurture program has nothing left to send."),
        *_text("nurtureCadence", "trackName", "trackCategory"),
        *_fields("integer", "waitlistPriority"),
        *_personal("registrationCode", "webinarUrl"),
        *_fields("timestamptz", "createdAt", "updatedAt"),
    ),
    primary_key=("program_id", "lead_id"),
    replication_key="updated_at",
    lookback=LEAD_LOOKBACK,
    sweep=Sweep(),
)


def _list(name: str, endpoint: Endpoint, description: str, *columns: Column) -> Stream:
    disposition: Disposition = "replace"
    return Stream(
        source="marketo",
        name=name,
        description=description,
        columns=columns,
        primary_key=("id",),
        disposition=disposition,
        options={"endpoint": endpoint},
    )


ACTIVITY_TYPES = _list(
    "activity_types",
    Endpoint("/rest/v1/activities/types.json", records="result"),
    "What kinds of activities there are, with the names of their attributes.",
    Column("id", "integer"),
    *_text("name", "apiName", "description"),
    _column("primaryAttribute", "jsonb", "Name and type of the primary attribute."),
    _column("attributes", "jsonb", "Names and types of the other attributes."),
)

CAMPAIGNS = _list(
    "campaigns",
    Endpoint("/rest/v1/campaigns.json", records="result", paging=TOKENS, is_optional=True),
    "Smart campaigns: the automations inside of programs.",
    Column("id", "bigint"),
    *_text("name", "description", "type"),
    _column("programId", "bigint", "The program that it belongs to."),
    *_text("programName", "workspaceName"),
    _column("active", "boolean", "Whether a trigger campaign listens."),
    *_fields("timestamptz", "createdAt", "updatedAt"),
)

#: Beyond the last program comes a warning instead of a result.
PROGRAMS_ENDPOINT = Endpoint(
    "/rest/asset/v1/programs.json",
    records="result",
    paging=OffsetPaging("offset", "maxReturn", size=200, until_empty=True),
    is_optional=True,
)
PROGRAMS = _list(
    "programs",
    PROGRAMS_ENDPOINT,
    "Marketing programs with their channels and what they cost.",
    Column("id", "bigint"),
    *_text("name", "description", "type", "channel", "status", "workspace", "url"),
    _column("folder", "jsonb", "Where the program lies."),
    _column("costs", "jsonb", "Period costs: a list of startDate, cost and note."),
    _column("sfdcId", "text", "The campaign of Salesforce that it is synced with."),
    _column("sfdcName", "text", "The name of that campaign."),
    *_fields("timestamptz", "startDate", "endDate", "createdAt", "updatedAt"),
)

LISTS = _list(
    "lists",
    Endpoint("/rest/v1/lists.json", records="result", paging=TOKENS, is_optional=True),
    "Static lists of leads.",
    Column("id", "bigint"),
    *_text("name", "description", "programName", "workspaceName"),
    *_fields("timestamptz", "createdAt", "updatedAt"),
)

STREAMS: tuple[Stream, ...] = (
    LEADS,
    ACTIVITIES,
    ACTIVITY_TYPES,
    CAMPAIGNS,
    PROGRAMS,
    PROGRAM_MEMBERS,
    LISTS,
)
