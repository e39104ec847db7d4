"""What Marketo says of itself: lead fields, activity types, channels, program member fields."""

from __future__ import annotations

from meltano_assets.sandbox.company_sales import Record

#: Data type → lead fields of that type, by their REST names; ``:r`` marks read-only ones.
_LEAD_FIELDS = {
    "integer": "id:r numberOfEmployees leadScore priority relativeScore relativeUrgency"
    " Company_Size__c",
    "datetime": "createdAt:r updatedAt:r mktoAcquisitionDate emailSuspendedAt:r",
    "date": "dateOfBirth MQL_Date__c",
    "email": "email",
    "phone": "phone mobilePhone fax mainPhone",
    "url": "website originalReferrer:r",
    "currency": "annualRevenue Seat_Budget__c",
    "float": "urgency",
    "lead_function": "sfdcId:r",
    "reference": "contactCompany:r leadPerson:r personPrimaryLeadInterest leadPartitionId"
    " acquisitionProgramId leadRevenueCycleModelId leadRevenueStageId",
    "boolean": "mktoIsPartner isLead mktoIsCustomer isAnonymous:r emailInvalid unsubscribed"
    " doNotCall marketingSuspended blackListed emailSuspended GDPR_Consent__c",
    "text": "address billingStreet mktoPersonNotes mktoCompanyNotes Comments__c",
    "string": "salutation firstName middleName lastName city state country postalCode title"
    " department personTimeZone:r personType company site industry sicCode billingCity"
    " billingState billingCountry billingPostalCode externalCompanyId externalSalesPersonId"
    " sfdcType:r sfdcLeadId:r sfdcContactId:r sfdcAccountId:r sfdcLeadOwnerId:r leadSource"
    " leadStatus leadRole rating originalSourceType:r originalSourceInfo:r"
    " originalSearchEngine:r originalSearchPhrase:r registrationSourceType:r"
    " registrationSourceInfo:r mktoName:r anonymousIP cookies:r inferredCompany:r"
    " inferredCountry:r inferredCity:r inferredStateRegion:r inferredPostalCode:r"
    " inferredMetropolitanArea:r inferredPhoneAreaCode:r emailInvalidCause unsubscribedReason"
    " mktoDoNotCallCause doNotCallReason marketingSuspendedCause blackListedCause"
    " emailSuspendedCause:r",
}
#: Fields that filters of ``/rest/v1/leads.json`` take besides custom ones.
SEARCHABLE = (
    "id",
    "email",
    "cookies",
    "sfdcAccountId",
    "sfdcContactId",
    "sfdcLeadId",
    "sfdcLeadOwnerId",
)
DEFAULT_LEAD_FIELDS = ("id", "updatedAt", "lastName", "email", "createdAt", "firstName")

#: number|name|primary attribute|other attributes.
_ACTIVITY_TYPES = """\
1|Visit Webpage|Webpage ID|Client IP Address|Query Parameters|Referrer URL|Search Engine|\
Search Query|User Agent|Webpage URL
2|Fill Out Form|Webform ID|Client IP Address|Form Fields|Query Parameters|Referrer URL|\
User Agent|Webpage ID
3|Click Link|Link ID|Client IP Address|Query Parameters|Referrer URL|User Agent|Webpage ID
6|Send Email|Mailing ID|Campaign Run ID|Choice Number|Has Predictive|Step ID|Test Variant
7|Email Delivered|Mailing ID|Campaign Run ID|Choice Number|Has Predictive|Step ID|\
Test Variant
8|Email Bounced|Mailing ID|Campaign Run ID|Category|Choice Number|Details|Email|\
Has Predictive|Step ID|Subcategory|Test Variant
9|Unsubscribe Email|Mailing ID|Campaign Run ID|Client IP Address|Form Fields|Has Predictive|\
Query Parameters|Referrer URL|Test Variant|User Agent|Webform ID|Webpage ID
10|Open Email|Mailing ID|Campaign Run ID|Choice Number|Device|Has Predictive|\
Is Mobile Device|Platform|Step ID|Test Variant|User Agent
11|Click Email|Mailing ID|Campaign Run ID|Choice Number|Device|Is Mobile Device|\
Is Predictive|Link|Link ID|Platform|Step ID|Test Variant|User Agent
12|New Lead||Created Date|Form Name|Lead Source|SFDC Type|Source Type
13|Change Data Value|Attribute Name|New Value|Old Value|Reason|Source
19|Sync Lead to SFDC|Assign To
21|Convert Lead|Assign To|Converted Status|Send Notification Email
22|Change Score|Score Name|Change Value|New Value|Old Value|Priority|Reason|Relative Score|\
Relative Urgency|Urgency
23|Change Owner|Owner|Old Owner
24|Add to List|List ID|Source
25|Remove from List|List ID|Source
27|Email Bounced Soft|Mailing ID|Campaign Run ID|Category|Choice Number|Details|Email|\
Has Predictive|Step ID|Subcategory|Test Variant
29|Delete Lead from SFDC|Delete in Marketo
31|SFDC Merge Leads|Merged|Winning Values
32|Merge Leads|Lead ID|Merge IDs|Master Updated|Merged in Sales|Merge Source
34|Add to Opportunity|Oppty ID|Is Primary|Role
35|Remove from Opportunity|Oppty ID|Is Primary|Role
36|Update Opportunity|Oppty ID|Attribute Name|Data Value Changes|New Value|Old Value
37|Delete Lead|Lead ID|Remove from CRM
38|Send Alert|Mailing ID|Send To List|Send To Owner|Send To Smart List
39|Send Sales Email|Artifact ID|Campaign Run ID|Has Predictive|Sent by|Source|Template ID
40|Open Sales Email|Artifact ID|Campaign Run ID|Has Predictive|Sent by|Source|Template ID
41|Click Sales Email|Artifact ID|Campaign Run ID|Is Predictive|Link|Sent by|Source|\
Template ID
42|Add to SFDC Campaign|Campaign ID|Status
43|Remove from SFDC Campaign|Campaign ID|Status
44|Change Status in SFDC Campaign|Campaign ID|New Status|Old Status
45|Receive Sales Email|Artifact ID|Received by|Source
46|Interesting Moment|Type|Date|Description|Source
47|Request Campaign|Campaign ID|Source
101|Change Revenue Stage|Model ID|New Stage ID|Old Stage ID|Reason|SLA Expiration|New Stage|\
Old Stage
104|Change Status in Progression|Program ID|Acquired By|New Status ID|Old Status ID|Reason|\
Success|New Status|Old Status
108|Change Segment|Segmentation ID|New Segment ID
110|Call Webhook|Webhook|Error Type|Response
113|Add to Nurture|Program ID|Track ID
114|Change Nurture Track|Program ID|New Track ID|Previous Track ID
115|Change Nurture Cadence|Program ID|New Nurture Cadence|Previous Nurture Cadence
145|Push Lead to Marketo|Program ID|Reason|Source
"""

MEMBER_FIELDS = {
    "acquiredBy": "boolean",
    "createdAt": "datetime",
    "isExhausted": "boolean",
    "leadId": "integer",
    "membershipDate": "datetime",
    "nurtureCadence": "string",
    "program": "string",
    "programId": "integer",
    "reachedSuccess": "boolean",
    "reachedSuccessDate": "datetime",
    "registrationCode": "string",
    "statusName": "string",
    "statusReason": "string",
    "trackCategory": "string",
    "trackName": "string",
    "updatedAt": "datetime",
    "waitlistPriority": "integer",
    "webinarUrl": "string",
}
ACTIVITY_FIELDS = (
    "marketoGUID",
    "leadId",
    "activityDate",
    "activityTypeId",
    "campaignId",
    "primaryAttributeValueId",
    "primaryAttributeValue",
    "attributes",
)
#: The one custom object: a workshop that a lead attended.
WORKSHOP = "workshop_c"
WORKSHOP_FIELDS = ("marketoGUID", "leadId", "workshopName", "createdAt", "updatedAt")


def about_workshops() -> Record:
    """The custom object as its list and its description tell it."""
    read_only = ("marketoGUID", "createdAt", "updatedAt")
    kinds = {"leadId": "integer", "createdAt": "datetime", "updatedAt": "datetime"}
    lead = {"name": "Lead", "field": "Id"}
    return {
        "name": WORKSHOP,
        "displayName": "Workshop",
        "description": "Workshops that leads attended",
        "createdAt": "2020-02-11T00:00:00Z",
        "updatedAt": "2020-02-11T00:00:00Z",
        "idField": "marketoGUID",
        "dedupeFields": ["leadId", "workshopName"],
        "searchableFields": [["leadId", "workshopName"], ["marketoGUID"], ["leadId"]],
        "fields": [
            {
                "name": name,
                "displayName": name,
                "dataType": kinds.get(name, "string"),
                "updateable": name not in read_only,
            }
            for name in WORKSHOP_FIELDS
        ],
        "relationships": [{"field": "leadId", "type": "child", "relatedTo": lead}],
    }


def lead_fields() -> list[Record]:
    """Every lead field as the describe call tells it; ids follow the order."""
    fields: list[Record] = []
    for kind, names in _LEAD_FIELDS.items():
        for marked in names.split():
            name, _, mark = marked.partition(":")
            spaced = "".join(f" {c}" if c.isupper() else c for c in name.removesuffix("__c"))
            title = spaced.replace("_", " ").strip()
            field: Record = {
                "id": len(fields) + 2,
                "displayName": " ".join(title.split()).capitalize(),
                "dataType": kind,
                **({"length": 255} if kind in ("string", "email", "phone", "url") else {}),
                "rest": {"name": name, "readOnly": bool(mark)},
                "soap": {"name": name[0].upper() + name[1:], "readOnly": bool(mark)},
            }
            fields.append(field)
    # What the SOAP interface alone knows: such fields have no part for REST.
    fields.append(
        {
            "id": 1,
            "displayName": "Is Sales Lead",
            "dataType": "boolean",
            "soap": {"name": "IsSalesLead", "readOnly": True},
        }
    )
    return fields


def activity_types() -> list[Record]:
    """Every kind of activity with its attributes."""
    types: list[Record] = []
    for line in _ACTIVITY_TYPES.splitlines():
        number, name, primary, *others = line.split("|")
        types.append(
            {
                "id": int(number),
                "name": name,
                "description": name,
                **({"primaryAttribute": _attribute(primary)} if primary else {}),
                "attributes": [_attribute(other) for other in others],
            }
        )
    return types


def _attribute(name: str) -> Record:
    kind = "string"
    if name.endswith((" ID", "Number")):
        kind = "integer"
    elif name.startswith(("Is ", "Has ")) or name in ("Success", "Acquired By"):
        kind = "boolean"
    elif name == "Created Date":
        kind = "date"
    return {"name": name, "dataType": kind}
