"""Converting leads: one becomes an account, a contact and mostly an opportunity.

As the SOAP API's ``convertLead`` does it: a company and person who are known already can be named; what the
lead tells fills what they leave empty. The lead stays, converted, and can be changed no more.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import date

from meltano_assets.sandbox.salesforce_drafts import Draft
from meltano_assets.sandbox.salesforce_org import RollBack, SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import parse_id
from meltano_assets.sandbox.salesforce_values import ApiProblem, SqlValue
from meltano_assets.sandbox.salesforce_writes import Writer

#: The statuses of leads that are converted.
CONVERTED = ("Converted",)
#: A field of the lead → of the account.
_ACCOUNT = {
    "Company": "Name",
    "Phone": "Phone",
    "Website": "Website",
    "Industry": "Industry",
    "NumberOfEmployees": "NumberOfEmployees",
    "AnnualRevenue": "AnnualRevenue",
    "LeadSource": "AccountSource",
    "Street": "BillingStreet",
    "City": "BillingCity",
    "State": "BillingState",
    "PostalCode": "BillingPostalCode",
    "Country": "BillingCountry",
}
_CONTACT = {
    "FirstName": "FirstName",
    "LastName": "LastName",
    "Title": "Title",
    "Phone": "Phone",
    "MobilePhone": "MobilePhone",
    "Email": "Email",
    "LeadSource": "LeadSource",
    "Description": "Description",
    "Street": "MailingStreet",
    "City": "MailingCity",
    "State": "MailingState",
    "PostalCode": "MailingPostalCode",
    "Country": "MailingCountry",
}
_FIRST_STAGE = "0-Pending Acceptance"


class _Refused(Exception):
    def __init__(self, *problems: ApiProblem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def convert_lead(org: SalesforceOrg, asked: Mapping[str, str]) -> dict[str, object]:
    """A ``LeadConvertResult``; ``asked`` holds the fields of a ``LeadConvert``."""
    lead_id = parse_id(asked.get("leadId", ""))
    result: dict[str, object] = {"errors": [], "leadId": lead_id, "success": False}
    try:
        with org.writing():
            try:
                made = _Conversion(org, asked).carried_out()
            except _Refused as refused:
                result["errors"] = list(refused.problems)
                raise RollBack from refused
    except RollBack:
        return result
    return {**result, **made, "success": True}


class _Conversion:
    def __init__(self, org: SalesforceOrg, asked: Mapping[str, str]) -> None:
        self._org = org
        self._asked = asked
        self._writer = org.reader()  # Inside ``writing`` it sees what is written.

    def carried_out(self) -> dict[str, object]:
        """The ids of what the lead became."""
        lead = self._lead()
        status = self._asked.get("convertedStatus", "")
        if status not in CONVERTED:
            message = f"invalid convertedStatus: {status or None}"
            raise _Refused(ApiProblem("INVALID_STATUS", message, ("Status",)))
        owner = self._known("ownerId", "User") or lead["OwnerId"]
        if str(owner)[:3] == "00G":
            message = "Converted objects can only be owned by users. If the lead is not owned by a user, you must specify a user for the Owner field."
            raise _Refused(ApiProblem("INVALID_ID_FIELD", message, ("OwnerId",)))
        account = self._known("accountId", "Account")
        contact = self._known("contactId", "Contact")
        if contact is not None and account is None:
            message = "AccountId must be specified when ContactId is"
            raise _Refused(ApiProblem("REQUIRED_FIELD_MISSING", message, ("accountId",)))
        if account is None:
            account = self._made("Account", {**_carried(lead, _ACCOUNT), "OwnerId": owner})
        fields = {**_carried(lead, _CONTACT), "OwnerId": owner, "AccountId": account}
        if contact is None:
            contact = self._made("Contact", fields)
        elif self._asked.get("overwriteLeadSource") == "true":
            self._changed("Contact", contact, {"LeadSource": lead["LeadSource"]})
        deal = None
        if self._asked.get("doNotCreateOpportunity") != "true":
            deal = self._known("opportunityId", "Opportunity") or self._made(
                "Opportunity",
                {
                    "Name": self._asked.get("opportunityName") or lead["Company"],
                    "AccountId": account,
                    "OwnerId": owner,
                    "LeadSource": lead["LeadSource"],
                    "StageName": _FIRST_STAGE,
                    "CloseDate": _quarters_end(self._org.clock.now().date()).isoformat(),
                },
            )
        self._changed(
            "Lead",
            str(lead["Id"]),
            {
                "Status": status,
                "OwnerId": owner,
                "IsConverted": 1,
                "ConvertedDate": self._org.clock.now().date().isoformat(),
                "ConvertedAccountId": account,
                "ConvertedContactId": contact,
                "ConvertedOpportunityId": deal,
            },
        )
        self._writer.execute(
            'UPDATE "CampaignMember" SET "ContactId" = ?, "SystemModstamp" = ? WHERE "LeadId" = ?',
            (contact, self._org.stamp(), lead["Id"]),
        )
        return {"accountId": account, "contactId": contact, "opportunityId": deal}

    def _lead(self) -> dict[str, SqlValue]:
        lead_id = parse_id(self._asked.get("leadId", ""))
        sobject = self._org.schema.find("Lead")
        if sobject is None or lead_id is None or lead_id[:3] != sobject.key_prefix:
            message = f"invalid lead id: {self._asked.get('leadId')}"
            raise _Refused(ApiProblem("INVALID_ID_FIELD", message, ("leadId",)))
        cursor = self._writer.execute('SELECT * FROM "Lead" WHERE "Id" = ?', (lead_id,))
        names = [column[0] for column in cursor.description]
        row = cursor.fetchone()
        if row is None:
            raise _Refused(ApiProblem("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id"))
        lead = dict(zip(names, row, strict=True))
        if lead["IsDeleted"]:
            raise _Refused(ApiProblem("ENTITY_IS_DELETED", "entity is deleted"))
        if lead["IsConverted"]:
            message = "cannot reference converted lead"
            raise _Refused(ApiProblem("CANNOT_UPDATE_CONVERTED_LEAD", message))
        return lead

    def _known(self, name: str, kind: str) -> str | None:
        """The id of a record that was named; it must be there."""
        given = self._asked.get(name)
        if not given:
            return None
        found, sobject = parse_id(given), self._org.schema.find(kind)
        if sobject is not None and found is not None and found[:3] == sobject.key_prefix:
            living = ' AND "IsDeleted" = 0' if sobject.has_is_deleted else ""
            text = f'SELECT 1 FROM "{kind}" WHERE "Id" = ?{living}'
            if self._writer.execute(text, (found,)).fetchone():
                return found
        raise _Refused(ApiProblem("INVALID_ID_FIELD", f"invalid {kind} id: {given}", (name,)))

    def _made(self, kind: str, values: dict[str, SqlValue]) -> str:
        sobject = self._org.schema.find(kind)
        assert sobject is not None
        kept: dict[str, SqlValue] = {
            n: v for n, v in values.items() if v is not None and sobject.find(n)
        }
        with self._org.writing() as connection:
            writer = Writer(self._org, connection, sobject, allow_duplicates=True)
            outcome = writer.save("insert", [Draft(values=kept)])[0]
        if outcome.problems:
            raise _Refused(*outcome.problems)
        return str(outcome.record_id)

    def _changed(self, kind: str, key: str, values: dict[str, SqlValue]) -> None:
        stamp = self._org.stamp()
        values = {
            **values,
            "LastModifiedDate": stamp,
            "LastModifiedById": self._org.user_id,
            "SystemModstamp": stamp,
        }
        settings = ", ".join(f'"{name}" = ?' for name in values)
        text = f'UPDATE "{kind}" SET {settings} WHERE "Id" = ?'
        self._writer.execute(text, (*values.values(), key))


def _carried(lead: Mapping[str, SqlValue], names: Mapping[str, str]) -> dict[str, SqlValue]:
    return {target: lead[name] for name, target in names.items() if name in lead}


def _quarters_end(day: date) -> date:
    month = (day.month + 2) // 3 * 3
    return date(day.year, month, calendar.monthrange(day.year, month)[1])
