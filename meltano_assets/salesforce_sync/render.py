"""Plans as people and programs read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from meltano_assets.salesforce_sync.plan import Action, Change, Plan

_WIDTH = 60
_VERBS: Mapping[Action, str] = {"create": "create", "update": "change", "delete": "delete"}


def render_plan(plan: Plan, limit: int | None = 20, *, is_private: bool = False) -> str:
    """The plan grouped by what is done, each record with its fields before → after.

    ``limit`` is how many records of each group are listed; None lists all. ``is_private`` hides the
    values of personal fields: for places where they would be kept.
    """
    return "\n".join(_lines(plan, limit, personal_fields(plan) if is_private else frozenset()))


def render_plans(plans: Iterable[Plan], limit: int | None = 20) -> str:
    """Several plans as one JSON document: a list."""
    return json.dumps([_as_dict(plan, limit) for plan in plans], ensure_ascii=False, indent=2)


def render_history(history: Mapping[str, list[dict[str, Any]]]) -> str:
    """What is remembered of one record, last first, for a person."""
    lines = []
    for entry in history["ledger"]:
        known = f" ({entry['record_id']})" if entry["record_id"] else ""
        lines.append(f"{entry['sync']}: {entry['object']} {entry['key']}{known}: {entry['state']}")
        if entry["reason"]:
            lines.append(f"  {entry['reason']}: {entry['detail'] or ''}".rstrip(": "))
        if entry["state"] in ("parked", "failed"):
            lines.append(f"  {entry['attempts']:,} tries, last {_moment(entry['updated_at'])}")
    for change in history["changes"]:
        at = _moment(change["sent_at"] or change["planned_at"])
        lines.append(
            f"{at} {change['sync']} {change['action']}: {change['state']}  run {change['run_id']}"
        )
        if change["reason"]:
            lines.append(f"  {change['reason']}: {change['detail'] or ''}".rstrip(": "))
        for name, after in change["after"].items():
            lines.append(f"  {name}: {_short(change['before'].get(name))} → {_short(after)}")
    return "\n".join(lines)


def personal_fields(plan: Plan) -> frozenset[str]:
    """Fields that may hold a person's data: declared so, or of the org's e-mail or phone type."""
    declared = {rule.field.lower() for rule in plan.spec.fields if rule.personal}
    typed = {
        about.name.lower()
        for about in plan.description.fields.values()
        if about.type in ("email", "phone")
    }
    return frozenset(declared | typed)


def _moment(at: object) -> str:
    return at.isoformat(" ", "seconds") if isinstance(at, datetime) else "never"


def _lines(plan: Plan, limit: int | None, hidden: frozenset[str]) -> Iterator[str]:
    spec = plan.spec
    yield (
        f"{spec.name}: {plan.rows:,} rows of {spec.relation} → {spec.object}: "
        f"{plan.creations:,} to create, {plan.updates:,} to change, "
        f"{plan.unchanged:,} unchanged, {len(plan.parked):,} parked"
    )
    if plan.breaker:
        yield f"  STOPPED BY THE BREAKER: {plan.breaker}"
    for action, verb in _VERBS.items():
        group = [each for each in plan.changes if each.action == action]
        if group:
            yield f"  {verb} {len(group):,} {spec.object}"
        for change in group[:limit]:
            known = f" ({change.record_id})" if change.record_id else ""
            yield f"    {change.key}{known}"
            for name, after in change.after.items():
                if name.lower() in hidden:
                    yield f"      {name}: (personal)"
                elif change.action == "create":
                    yield f"      {name}: {_short(after)}"
                else:
                    yield f"      {name}: {_short(change.before.get(name))} → {_short(after)}"
        yield from _rest(len(group), limit)
    if plan.parked:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in plan.reasons.items())
        yield f"  parked {len(plan.parked):,}: {reasons}"
    for parked in plan.parked[:limit]:
        held = " (waits for its row to change)" if parked.is_held else ""
        yield f"    {parked.key or '(no key)'}: {parked.reject.reason}: {parked.reject.detail}{held}"
    yield from _rest(len(plan.parked), limit)


def _rest(count: int, limit: int | None) -> Iterator[str]:
    if limit is not None and count > limit:
        yield f"    … and {count - limit:,} more"


def _short(text: str | None) -> str:
    if text is None:
        return "(empty)"
    shown = " ".join(text.split())
    return shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 1]}… ({len(text):,} characters)"


def _as_dict(plan: Plan, limit: int | None) -> dict[str, object]:
    spec = plan.spec
    return {
        "sync": spec.name,
        "run_id": plan.run_id,
        "planned_at": plan.planned_at.isoformat(),
        "model": spec.relation,
        "object": spec.object,
        "operation": spec.operation,
        "rows": plan.rows,
        "to_create": plan.creations,
        "to_update": plan.updates,
        "unchanged": plan.unchanged,
        "parked": len(plan.parked),
        "reasons": plan.reasons,
        "breaker": plan.breaker,
        "changes": [_change(each) for each in plan.changes[:limit]],
        "parked_records": [
            {
                "key": each.key,
                "record_id": each.record_id,
                "reason": each.reject.reason,
                "detail": each.reject.detail,
                "field": each.reject.field,
                "is_held": each.is_held,
            }
            for each in plan.parked[:limit]
        ],
    }


def _change(change: Change) -> dict[str, object]:
    return {
        "action": change.action,
        "key": change.key,
        "record_id": change.record_id,
        "fields": {
            name: {"before": change.before.get(name), "after": after}
            for name, after in change.after.items()
        },
    }
