"""Fields that show what other records hold: Salesforce works them out when a record is read.

Here they are worked out after the records that they show have changed. As with the vendor, a record
whose shown fields change is not thereby changed itself: its ``SystemModstamp`` stays.
"""

from __future__ import annotations

import sqlite3

_PERSON: tuple[str, ...] = (
    *("FirstName", "LastName", "Salutation", "Title", "Phone", "MobilePhone", "Fax", "Email"),
    *("LeadSource", "Description", "DoNotCall", "HasOptedOutOfEmail", "HasOptedOutOfFax"),
)
_ADDRESS = ("Street", "City", "State", "PostalCode", "Country")
_MEMBERS = 'FROM "CampaignMember" m WHERE m."CampaignId" = "Campaign"."Id" AND NOT m."IsDeleted"'
_DEALS = 'FROM "Opportunity" o WHERE o."CampaignId" = "Campaign"."Id" AND NOT o."IsDeleted"'
#: Of a campaign.
_COUNTS = {
    "NumberOfLeads": f'count(m."LeadId") {_MEMBERS}',
    "NumberOfContacts": f'count(m."ContactId") {_MEMBERS}',
    "NumberOfResponses": f'ifnull(sum(m."HasResponded"), 0) {_MEMBERS}',
    "NumberOfConvertedLeads": 'count(*) FROM "CampaignMember" m JOIN "Lead" l ON l."Id" = m."LeadId" '
    'WHERE m."CampaignId" = "Campaign"."Id" AND NOT m."IsDeleted" AND l."IsConverted"',
    "NumberOfOpportunities": f"count(*) {_DEALS}",
    "NumberOfWonOpportunities": f'ifnull(sum(o."IsWon"), 0) {_DEALS}',
    "AmountAllOpportunities": f'round(ifnull(sum(o."Amount"), 0), 2) {_DEALS}',
    "AmountWonOpportunities": f'round(ifnull(sum(o."Amount" * o."IsWon"), 0), 2) {_DEALS}',
}
#: Objects whose change may change what others show.
SHOWN = frozenset(
    [
        "Account",
        "Campaign",
        "CampaignMember",
        "Contact",
        "Lead",
        "Opportunity",
        "OpportunityLineItem",
    ]
)


def roll_up(connection: sqlite3.Connection) -> None:
    """Bring every such field up to date."""
    _of_members(connection)
    _of_campaigns(connection)
    connection.execute(
        'UPDATE "Opportunity" SET "HasOpportunityLineItem" = EXISTS (SELECT 1 FROM '
        '"OpportunityLineItem" i WHERE i."OpportunityId" = "Opportunity"."Id" AND NOT i."IsDeleted")'
    )


def _of_members(connection: sqlite3.Connection) -> None:
    """A member shows the person; a contact before the lead that it came from."""
    for person, prefix, company, owner in (
        ("Lead", "", 'p."Company"', 'p."OwnerId"'),
        ("Contact", "Mailing", 'a."Name"', 'p."OwnerId"'),
    ):
        shown = {name: f'p."{name}"' for name in _PERSON}
        shown |= {name: f'p."{prefix}{name}"' for name in _ADDRESS}
        shown |= {"CompanyOrAccount": company, "LeadOrContactOwnerId": owner}
        settings = ", ".join(f'"{name}" = {value}' for name, value in shown.items())
        account = ' LEFT JOIN "Account" a ON a."Id" = p."AccountId"' if person == "Contact" else ""
        connection.execute(
            f'UPDATE "CampaignMember" SET {settings} FROM "{person}" p{account} '
            f'WHERE p."Id" = "CampaignMember"."{person}Id"'
        )


def _of_campaigns(connection: sqlite3.Connection) -> None:
    settings = ", ".join(f'"{name}" = (SELECT {sql})' for name, sql in _COUNTS.items())
    connection.execute(f'UPDATE "Campaign" SET {settings}')
