"""The metrics of acquisition worked out once more from what is known of the company, in Python.

Only the seeds are shared with the dbt project: rates and margins are a user's, not the company's.
"""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from meltano_assets.environment import dbt_project_directory

Row = dict[str, float | None]


def expected_acquisition(known: Mapping[str, Any]) -> dict[str, Row]:
    """Month → what ``agg_acquisition_monthly`` must hold, by the rules of docs/metrics.md."""
    estimated = _estimated_iacv(known)
    wins: dict[str, list[float]] = {}
    for win in known["first_wins"]:
        wins.setdefault(win["day"][:7], []).append(_in_dollars(win))
    accepted: dict[str, int] = {}
    for deal in known["accepted"]:
        month = deal["accepted"][:7]
        accepted[month] = accepted.get(month, 0) + 1
    spends, leads = known["spend_by_month"], known["leads_by_month"]
    return {
        month: _measured(
            spend=spends.get(month, 0.0),
            leads=leads.get(month, 0),
            accepted=accepted.get(month, 0),
            won=wins.get(month, []),
            estimated=estimated.get(month),
            margin=float(
                _of_day("gross_margins", date.fromisoformat(f"{month}-01"))["gross_margin"]
            ),
            churn=_yearly_churn(known, month),
        )
        for month in {*spends, *leads, *accepted, *wins}
    }


def _measured(
    *,
    spend: float,
    leads: int,
    accepted: int,
    won: list[float],
    estimated: float | None,
    margin: float,
    churn: float | None,
) -> Row:
    is_spent = spend > 0
    years = 1 / churn if churn else None
    acquisition = spend / leads * (leads / len(won)) if is_spent and leads and won else None
    lifetime = sum(won) / len(won) * margin * years if won and years else None
    each = estimated / accepted if estimated is not None and accepted else None
    return {
        "spend": spend,
        "lead_count": leads,
        "sales_accepted_opportunity_count": accepted,
        "customers_won_count": len(won),
        "yearly_churn": churn,
        "estimated_iacv": estimated,
        "cost_per_lead": spend / leads if is_spent and leads else None,
        "cost_per_sales_accepted_opportunity": spend / accepted if is_spent and accepted else None,
        "customer_acquisition_cost": acquisition,
        "estimated_iacv_to_marketing": estimated / spend
        if is_spent and estimated is not None
        else None,
        "lifetime_value": lifetime,
        "lifetime_value_per_sales_accepted_opportunity": each * margin * years
        if each is not None and years
        else None,
        "return_on_investment": lifetime / acquisition if lifetime and acquisition else None,
    }


def _estimated_iacv(known: Mapping[str, Any]) -> dict[str, float]:
    """Month of acceptance → twice what it won within the median time, once that has passed."""
    taken = [deal["days_to_won"] for deal in known["accepted"] if "days_to_won" in deal]
    median = statistics.median(taken)
    today = date.fromisoformat(known["opportunities_as_of"])
    sums: dict[str, float] = {}
    for deal in known["accepted"]:
        month = deal["accepted"][:7]
        first = date.fromisoformat(f"{month}-01")
        last = (first + timedelta(days=32)).replace(day=1) - timedelta(days=1)
        if (today - last).days < median:
            continue
        sums.setdefault(month, 0.0)
        if deal.get("days_to_won", median + 1) <= median:
            sums[month] += 2 * _in_dollars(deal)
    return sums


def _yearly_churn(known: Mapping[str, Any], month: str) -> float | None:
    """Of the customers of a year before; where billing knows none, of a year's renewals."""
    if month in known["customers_lost"]:
        had, lost = known["customers_lost"][month]
        return lost / had
    year = [
        counts
        for other, counts in known["renewals_lost"].items()
        if 0 <= _number(month) - _number(other) < 12
    ]
    closed = sum(count for count, _ in year)
    return sum(lost for _, lost in year) / closed if closed else None


def _number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])


def _in_dollars(deal: Mapping[str, Any]) -> float:
    rate = _of_day("exchange_rates", date.fromisoformat(deal["day"]), deal["currency"])
    return float(deal["iacv"]) * float(rate["rate_to_usd"])


def _of_day(seed: str, day: date, currency: str | None = None) -> dict[str, str]:
    """The row of a dated seed that holds on that day."""
    with (dbt_project_directory() / "seeds" / f"{seed}.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("currency_code") == currency]
    return max(
        (row for row in rows if row["valid_from"] <= day.isoformat()),
        key=lambda row: row["valid_from"],
    )
