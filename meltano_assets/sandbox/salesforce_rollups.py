"""Fields that follow from other records: counts and sums of a campaign, the person behind a member.

Here they are worked out after the records that they follow from have changed. A count that changes is
a change by the system, which stamps ``SystemModstamp`` and nothing else. What a member shows of its
person is looked up when it is read, and leaves no trace in the member.
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
#: Of a campaign and all that lie below it.
_SUMMED = (
    *("ActualCost", "BudgetedCost", "ExpectedRevenue", "NumberSent"),
    *("AmountAllOpportunities", "AmountWonOpportunities", "NumberOfContacts", "NumberOfLeads"),
    *("NumberOfConvertedLeads", "NumberOfOpportunities", "NumberOfResponses"),
    "NumberOfWonOpportunities",
)
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


def roll_up(connection: sqlite3.Connection, stamp: str) -> None:
    """Bring every such field up to date; ``stamp`` is the present."""
    _of_members(connection)
    _recount(connection, stamp)
    _sum_hierarchies(connection)
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


def _recount(connection: sqlite3.Connection, stamp: str) -> None:
    columns = [f'"{column}"' for column in _COUNTS]
    selected = ", ".join(f'(SELECT {sql}) AS "{column}"' for column, sql in _COUNTS.items())
    settings = ", ".join(f"{column} = new.{column}" for column in columns)
    before, after = (
        ", ".join(f"{name}.{column}" for column in columns) for name in ('"Campaign"', "new")
    )
    # A campaign that was never counted is new, and its own stamp tells of it.
    connection.execute(
        f'UPDATE "Campaign" SET {settings}, "SystemModstamp" = CASE WHEN "Campaign".{columns[0]} '
        f'IS NULL THEN "SystemModstamp" ELSE ? END FROM (SELECT "Id", {selected} FROM "Campaign") '
        f'new WHERE new."Id" = "Campaign"."Id" AND ({before}) IS NOT ({after})',
        (stamp,),
    )


def _sum_hierarchies(connection: sqlite3.Connection) -> None:
    settings = ", ".join(f'"Hierarchy{name}" = summed."{name}"' for name in _SUMMED)
    sums = ", ".join(f'round(ifnull(sum(c."{name}"), 0), 2) AS "{name}"' for name in _SUMMED)
    connection.execute(
        'WITH RECURSIVE tree(root, id) AS (SELECT "Id", "Id" FROM "Campaign" UNION '
        'SELECT tree.root, c."Id" FROM "Campaign" c JOIN tree ON c."ParentId" = tree.id '
        'WHERE NOT c."IsDeleted") '
        f'UPDATE "Campaign" SET {settings} FROM (SELECT tree.root, {sums} FROM tree '
        'JOIN "Campaign" c ON c."Id" = tree.id GROUP BY tree.root) summed '
        'WHERE summed.root = "Campaign"."Id"'
    )
