"""What Zendesk finds by way of another record: a user's groups, a macro's effect, a view's tickets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from meltano_assets.sandbox.company_sales import Record
from meltano_assets.sandbox.zendesk_answers import as_dict, as_list
from meltano_assets.sandbox.zendesk_desk import Desk
from meltano_assets.sandbox.zendesk_details import Part
from meltano_assets.sandbox.zendesk_fields import PRIORITIES, STATUSES
from meltano_assets.sandbox.zendesk_kept import kept_records

_ENOUGH_RECENT = 5
_TITLES = {"status": "Status", "subject": "Subject", "requester": "Requester", "created": "Requested",
           "assignee": "Assignee", "group": "Group", "priority": "Priority"}  # fmt: skip
_RANKS: Mapping[str, Sequence[str]] = {
    "status": STATUSES,
    "priority": [each for each in PRIORITIES if each],
}
_ACTIONS: list[Record] = [
    {"name": title, "value": name, "type": kind, "operators": ["is"], "repeatable": False}
    for title, name, kind in (
        ("Status", "status", "list"), ("Priority", "priority", "list"), ("Type", "type", "list"),
        ("Group", "group_id", "list"), ("Assignee", "assignee_id", "list"),
        ("Set tags", "set_tags", "text"), ("Add tags", "current_tags", "text"),
        ("Remove tags", "remove_tags", "text"), ("Comment/description", "comment_value", "textarea"),
        ("Set subject", "subject", "text"),
    )
]  # fmt: skip
#: Numbers of Talk, where nobody calls.
_OVERVIEWS = {
    "account_overview": "average_call_duration average_queue_wait_time max_queue_wait_time total_calls "
    "total_inbound_calls total_outbound_calls total_voicemails",
    "agents_overview": "average_wrap_up_time total_calls_accepted total_calls_denied total_calls_missed",
    "current_queue_activity": "agents_online average_wait_time callbacks_waiting calls_waiting "
    "embeddable_callbacks_waiting longest_wait_time",
}
_GUIDE, _LOCALE = ("articles", "categories", "sections"), r"[a-z]{2,3}(-[a-z0-9]{2,4})?"
#: A macro's field → the ticket's.
_TICKET_FIELDS = {"current_tags": "tags", "set_tags": "tags"}


def related(desk: Desk, kept: list[Record], path: str, query: Mapping[str, str]) -> Part:
    """The answer at a path of this kind; ``kept`` are the tickets that are not deleted."""
    match path.split("/"):
        case ["users", number, "groups"]:
            return _through(desk, number, "group_memberships", "group_id", "groups")
        case ["users", number, "organizations"]:
            return _organizations(desk, number)
        case ["users", number, "tickets", "ccd"]:
            return "tickets", [t for t in kept if number in _texts(t.get("collaborator_ids"))]
        case ["users", number, "tickets", "assigned"]:
            return "tickets", [t for t in kept if str(t["assignee_id"]) == number]
        case ["groups", number, "users"]:
            links = kept_records(desk, "group_memberships")
            ids = {str(m["user_id"]) for m in links if str(m["group_id"]) == number}
            return "users", [u for u in desk.records("users") if str(u["id"]) in ids]
        case ["groups" | "group_memberships" as name, "assignable"]:
            return name, kept_records(desk, name)
        case ["tickets", "recent"]:
            newest = sorted(kept, key=_last_changed, reverse=True)
            return "tickets", newest[:_ENOUGH_RECENT]
        case ["macros", "categories"]:
            titles = (str(m.get("title")) for m in kept_records(desk, "macros"))
            return {"categories": sorted({t.partition("::")[0] for t in titles if "::" in t})}
        case ["macros", "search"]:
            wanted = query.get("query", "").lower()
            macros = kept_records(desk, "macros")
            return "macros", [m for m in macros if wanted in str(m.get("title")).lower()]
        case ["macros", number, "attachments"]:
            own = _by_id(kept_records(desk, "macros"), number)
            return None if own is None else ("macro_attachments", [])
        case ["ticket_fields" | "user_fields" | "organization_fields" as name, number, "options"]:
            field = _by_id(kept_records(desk, name), number)
            return None if field is None else ("custom_field_options", _options(field))
        case ["macros" | "automations" | "triggers", "definitions"]:
            return {
                "definitions": {"actions": _ACTIONS, "conditions_all": [], "conditions_any": []}
            }
        case ["locales", "detect_best_locale"]:
            return {"locale": {"id": 1, "locale": "en-US", "name": "English", "default": True}}
        case ["users", number, "password", "requirements"]:
            return {"requirements": ["must be at least 5 characters"]}
        case ["tickets", number, "audits", key]:
            ticket = _by_id(kept, number)
            audit = _by_id(desk.audits(ticket), key) if ticket else None
            return None if audit is None else {"audit": audit}
        case ["macros", "actions"]:
            return {"actions": _ACTIONS}
        case ["macros", number, "apply"]:
            macro = _by_id(kept_records(desk, "macros"), number)
            return None if macro is None else {"result": {"ticket": _effect(macro)}}
        case ["tickets", number, "macros", other, "apply"]:
            ticket, macro = _by_id(kept, number), _by_id(kept_records(desk, "macros"), other)
            if ticket is None or macro is None:
                return None
            return {"result": {"ticket": {**ticket, **_effect(macro, ticket)}}}
        case ["slas", "policies", "definitions"]:
            names = ("priority", "type", "group_id", "organization_id", "current_tags")
            known = [{"value": n, "title": n.replace("_", " ").title()} for n in names]
            return {"definitions": {"all": known, "any": known}}
        case ["channels", "voice", "stats", what] if what in _OVERVIEWS:
            return {what: dict.fromkeys(_OVERVIEWS[what].split(), 0)}
        case ["help_center", locale, what] if what in _GUIDE and re.fullmatch(_LOCALE, locale):
            return what, []
        case ["channels", "voice", "stats", "agents_activity"]:
            return "agents_activity", []
        case ["views", *rest]:
            return _view(desk, kept, rest, query)
    return None


def _options(field: Record) -> list[Record]:
    return as_list(field.get("custom_field_options"))


def _last_changed(ticket: Record) -> tuple[str, int]:
    return str(ticket["updated_at"]), int(str(ticket["id"]))


def _through(desk: Desk, user: str, links: str, key: str, name: str) -> Part:
    ids = {str(link[key]) for link in kept_records(desk, links) if str(link["user_id"]) == user}
    return name, [record for record in kept_records(desk, name) if str(record["id"]) in ids]


def _organizations(desk: Desk, number: str) -> Part:
    user = _by_id(desk.records("users"), number)
    links = desk.merged("organization_memberships", [])
    ids = {str(link["organization_id"]) for link in links if str(link["user_id"]) == number}
    ids.add(str(user["organization_id"]) if user else "")
    found = [record for record in desk.records("organizations") if str(record["id"]) in ids]
    return "organizations", found


def _effect(macro: Record, ticket: Record | None = None) -> Record:
    """The fields of a ticket that a macro sets."""
    changed: Record = {}
    tags = _texts((ticket or {}).get("tags"))
    for action in as_list(macro.get("actions")):
        name, value = str(action.get("field")), action.get("value")
        if name in ("comment_value", "comment_value_html"):
            text = value[-1] if isinstance(value, list) and value else value
            key = "html_body" if name.endswith("html") else "body"
            changed["comment"] = {key: text, "scoped_body": [["channel:all", text]]}
        elif name in ("current_tags", "remove_tags"):
            given = str(value).split()
            tags = [tag for tag in tags if tag not in given]
            changed["tags"] = tags = [*tags, *given] if name == "current_tags" else tags
        else:
            changed[_TICKET_FIELDS.get(name, name)] = value
    return changed


# Views


def previewed(path: str, body: object, kept: list[Record]) -> Record | None:
    """What a view that nobody has saved would find (``views/preview``) or count."""
    told = as_dict(as_dict(body).get("view"))
    view: Record = {"id": None, "title": None, **told}
    answers = {"views/preview": _executed, "views/preview/count": _counted}
    answer = answers.get(path)
    return None if answer is None else answer(view, _of_view(view, kept))


def _counted(view: Record, tickets: list[Record]) -> Record:
    value = len(tickets)
    return {"view_count": {"view_id": None, "value": value, "pretty": str(value), "fresh": True}}


def _view(desk: Desk, kept: list[Record], rest: list[str], query: Mapping[str, str]) -> Part:
    views = kept_records(desk, "views")
    if rest == ["count_many"]:
        wanted = query.get("ids", "").split(",")
        found = [view for view in views if str(view["id"]) in wanted]
        return {"view_counts": [_count(view, kept) for view in found]}
    view = _by_id(views, rest[0]) if rest else None
    if view is None:
        return None
    answers: dict[str, Callable[[], Part]] = {
        "tickets": lambda: ("tickets", _of_view(view, kept)),
        "feed": lambda: ("tickets", _of_view(view, kept)),
        "count": lambda: {"view_count": _count(view, kept)},
        "execute": lambda: _executed(view, _of_view(view, kept)),
        "export": lambda: {"export": {"status": "starting", "view_id": view["id"]}},
    }
    return answers[rest[1]]() if len(rest) == 2 and rest[1] in answers else None


def _executed(view: Record, tickets: list[Record]) -> Record:
    short = ("id", "subject", "description", "status", "priority", "type")
    rows: list[Record] = [
        {
            "ticket": {name: ticket.get(name) for name in short},
            "ticket_id": ticket["id"],
            "subject": ticket["subject"],
            "requester_id": ticket["requester_id"],
            "assignee_id": ticket["assignee_id"],
            "group_id": ticket["group_id"],
            "status": ticket["status"],
            "priority": ticket["priority"],
            "created": ticket["created_at"],
        }
        for ticket in tickets
    ]
    columns = [{"id": name, "title": title} for name, title in _TITLES.items()]
    told = {"id": view["id"], "title": view.get("title")}
    return {"view": told, "columns": columns, "rows": rows, "count": len(rows),
            "next_page": None, "previous_page": None}  # fmt: skip


def _count(view: Record, kept: list[Record]) -> Record:
    value = len(_of_view(view, kept))
    return {"view_id": view["id"], "value": value, "pretty": str(value), "fresh": True}


def _of_view(view: Record, kept: list[Record]) -> list[Record]:
    conditions = as_dict(view.get("conditions"))
    needed = as_list(view.get("all")) + as_list(conditions.get("all"))
    enough = as_list(view.get("any")) + as_list(conditions.get("any"))
    return [
        ticket
        for ticket in kept
        if all(_holds(each, ticket) for each in needed)
        and (not enough or any(_holds(each, ticket) for each in enough))
    ]


def _holds(condition: Record, ticket: Record) -> bool:
    """Is a view's condition met? One that the sandbox does not know is met by none."""
    name, value = str(condition.get("field")), str(condition.get("value") or "")
    operator = str(condition.get("operator") or "is")
    if name == "current_tags":
        is_there = any(tag in _texts(ticket.get("tags")) for tag in value.split())
        return is_there == (operator in ("includes", "is"))
    if name in _RANKS and operator in ("less_than", "greater_than"):
        ranks = _RANKS[name]
        told = str(ticket.get(name))
        if told not in ranks or value not in ranks:
            return False
        place, limit = ranks.index(told), ranks.index(value)
        return place < limit if operator == "less_than" else place > limit
    if name not in ticket or operator not in ("is", "is_not"):
        return False
    return (str(ticket[name] if ticket[name] is not None else "") == value) == (operator == "is")


def _by_id(records: Sequence[Record], number: str) -> Record | None:
    return next((record for record in records if str(record["id"]) == number), None)


def _texts(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else []
