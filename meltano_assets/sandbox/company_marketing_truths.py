"""What must come out of Marketo."""

from __future__ import annotations

from collections import Counter

from meltano_assets.sandbox.company_marketing import MarketingDesk
from meltano_assets.sandbox.company_sales import Record


def marketing_truths(desk: MarketingDesk) -> dict[str, object]:
    """What must come out of Marketo as it stands now."""
    spend = {
        str(number): sum(int(str(cost["cost"])) for cost in _costs(program))
        for number, program in desk.programs.items()
    }
    members = Counter(str(program) for program, _lead in desk.members)
    return {
        "leads": {
            "live": len(desk.leads),
            "gone": len(desk.gone),
            "by_salesforce_type": dict(
                sorted(Counter(str(lead.get("sfdcType")) for lead in desk.leads.values()).items())
            ),
            "unsubscribed": sum(1 for lead in desk.leads.values() if lead["unsubscribed"]),
        },
        "activities": {
            "total": len(desk.activities),
            "by_type": dict(
                sorted(Counter(str(a["activityTypeId"]) for a in desk.activities).items())
            ),
        },
        "programs": len(desk.programs),
        "campaigns": len(desk.campaigns),
        "lists": len(desk.lists),
        "program_spend": {"total": sum(spend.values()), "by_program": spend},
        "program_of_campaign": {
            key: number for key, number in desk.program_of.items() if number in desk.programs
        },
        "program_members": {
            "total": len(desk.members),
            "by_program": dict(sorted(members.items())),
            "reached_success": sum(1 for m in desk.members.values() if m["reachedSuccess"]),
        },
    }


def _costs(program: Record) -> list[Record]:
    costs = program["costs"]
    return costs if isinstance(costs, list) else []
