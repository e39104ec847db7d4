"""How the company's deals came to their stage: Salesforce's OpportunityHistory and -FieldHistory.

Salesforce writes a row of the first whenever stage, amount, probability or close date change, and one of
the second for each of the tracked fields. What was before the first day follows from the deal's id, so that nothing else of the company changes with it.
"""

from __future__ import annotations

from datetime import datetime

from meltano_assets.sandbox.company_sales import STAGES, Record
from meltano_assets.sandbox.company_words import dice
from meltano_assets.sandbox.company_world import World
from meltano_assets.sandbox.salesforce_picklists import FORECASTS

_OPEN = list(STAGES)[1:8]
_TRACKED = ("StageName", "Amount", "CloseDate", "OwnerId")
_FORM = "%Y-%m-%dT%H:%M:%S.000%z"


def remember_progress(world: World, deal: Record) -> None:
    """What a deal of the first day went through, from its making to its last change."""
    rng = dice(f"{world.seed}:progress:{deal['Id']}")
    stage = str(deal["StageName"])
    # Who wins or loses has come some way; each stage before the present one was passed through.
    until = _OPEN.index(stage) if stage in _OPEN else rng.randrange(1, len(_OPEN))
    first, last = (_moment(deal[name]) for name in ("CreatedDate", "SystemModstamp"))
    # What was never changed was made as it is.
    path = [*_OPEN[:until], stage] if first < last else [stage]
    places = sorted(rng.random() for _ in path[1:])
    at = [first, *(first + (last - first) * place for place in places)]
    if len(path) > 1 and stage not in _OPEN:
        at[-1] = last
    before: Record | None = None
    for number, (passed, moment) in enumerate(zip(path, at, strict=True)):
        values = {"StageName": passed, "Probability": STAGES[passed]}
        if number < len(path) - 1 and isinstance(deal["Amount"], float) and rng.random() < 0.3:
            values["Amount"] = round(deal["Amount"] * rng.uniform(0.5, 1.5), 2)
        now, stamp = {**deal, **values}, moment.strftime(_FORM)
        _write(world, 0, now, stamp, deal["IsDeleted"])
        _track(world, 0, before, now, stamp)
        before = now


def remember_change(
    world: World, day: int, before: Record | None, deal: Record, stamp: object
) -> None:
    """The rows that Salesforce writes when a deal is made (``before`` is None) or changed."""
    _write(world, day, deal, stamp, False)
    _track(world, day, before, deal, stamp)


def forget_progress(world: World, day: int, deal: Record) -> None:
    """A deal that is deleted takes its history along."""
    for record in list(world.live["OpportunityHistory"].values()):
        if record["OpportunityId"] == deal["Id"]:
            gone = {"IsDeleted": True, "SystemModstamp": deal["SystemModstamp"]}
            world.put(day, "OpportunityHistory", {**record, **gone})


def _moment(stamp: object) -> datetime:
    return datetime.fromisoformat(str(stamp).replace("+0000", "+00:00"))


def _write(world: World, day: int, deal: Record, stamp: object, is_deleted: object) -> None:
    amount, probability = deal["Amount"], STAGES[str(deal["StageName"])]
    expected = round(amount * probability / 100, 2) if isinstance(amount, float) else None
    record: Record = {
        "Id": world.sales.new_id("OpportunityHistory"),
        "OpportunityId": deal["Id"],
        "StageName": deal["StageName"],
        "Amount": amount,
        "ExpectedRevenue": expected,
        "CloseDate": deal["CloseDate"],
        "Probability": probability,
        "ForecastCategory": FORECASTS.get(str(deal["StageName"]), "Pipeline"),
        "CreatedDate": stamp,
        "SystemModstamp": stamp,
        "IsDeleted": is_deleted,
    }
    world.put(day, "OpportunityHistory", record)


def _track(world: World, day: int, before: Record | None, deal: Record, stamp: object) -> None:
    changes: list[tuple[str, object, object]] = [("created", None, None)]
    if before is not None:
        changes = [
            (name.removesuffix("Id"), before[name], deal[name])
            for name in _TRACKED
            if before[name] != deal[name]
        ]
    for name, old, new in changes:
        record: Record = {
            "Id": world.sales.new_id("OpportunityFieldHistory"),
            "OpportunityId": deal["Id"],
            "Field": name,
            "OldValue": old,
            "NewValue": new,
            "CreatedById": deal["OwnerId"],
            "CreatedDate": stamp,
            "IsDeleted": False,
        }
        world.put(day, "OpportunityFieldHistory", record)
