"""What an org has and this one does not use: reports and dashboards, approvals, workflow rules, actions.

Lists are empty in the vendor's form; what is named there is not known.
"""

from __future__ import annotations

from meltano_assets.sandbox.salesforce_http import Call, Reply, bad_request, not_allowed, not_found
from meltano_assets.sandbox.salesforce_org import SalesforceOrg
from meltano_assets.sandbox.salesforce_schema import parse_id

_REPORTS = ("dashboards", "reports", "reporttypes")
_REQUESTS = ("Approve", "Reject", "Removed", "Submit")


class Offices:
    """Answers for parts of the org in which nothing happens."""

    def __init__(self, org: SalesforceOrg) -> None:
        self._org = org

    def analytics(self, call: Call, rest: list[str]) -> Reply:
        """``/analytics/reports`` and its neighbours."""
        if not rest:
            return _root(call, "analytics", "dashboards", "reportTypes", "reports")
        if rest[0].lower() not in _REPORTS:
            raise not_found()
        if len(rest) > 1:
            _known_method(call, "GET", "HEAD", "POST", "PATCH", "DELETE")
            raise not_found()
        _known_method(call, "GET", "HEAD")
        return Reply(200, [])

    def actions(self, call: Call, rest: list[str]) -> Reply:
        """``/actions``: none of the standard ones, none of one's own."""
        if not rest:
            return _root(call, "actions", "custom", "standard")
        _known_method(call, "GET", "HEAD")
        words = [word.lower() for word in rest]
        if words in (["standard"], ["custom"]):
            return Reply(200, {"actions": []} if words == ["standard"] else {})
        raise not_found()

    def process(self, call: Call, rest: list[str]) -> Reply:
        """``/process/approvals`` and ``/process/rules``."""
        if not rest:
            return _root(call, "process", "approvals", "rules")
        word = rest[0].lower()
        if word not in ("approvals", "rules"):
            raise not_found()
        if word == "approvals" and call.method == "POST" and len(rest) == 1:
            return self._ask(call)
        _known_method(call, "GET", "HEAD", *(("POST",) if word == "approvals" else ()))
        if len(rest) == 1:
            return Reply(200, {word: {}})
        if word == "rules" and len(rest) == 2 and self._org.user_schema.find(rest[1]):
            return Reply(200, {"rules": {}})
        raise not_found()

    def _ask(self, call: Call) -> Reply:
        """No process takes a record that is sent for approval."""
        requests = call.json().get("requests")
        if not isinstance(requests, list) or not all(isinstance(one, dict) for one in requests):
            raise bad_request("JSON_PARSER_ERROR", "The requests must be a list of objects")
        results = []
        for request in requests:
            record = parse_id(str(request.get("contextId") or ""))
            if request.get("actionType") not in _REQUESTS:
                code, message = "INVALID_ARGUMENT_TYPE", "actionType is missing or unknown"
            elif record is None:
                code, message = "MALFORMED_ID", f"malformed id {request.get('contextId')}"
            else:
                code = "NO_APPLICABLE_PROCESS"
                message = "No applicable approval process was found."
            results.append(
                {
                    "actorIds": None,
                    "entityId": record,
                    "errors": [{"message": message, "statusCode": code}],
                    "instanceId": None,
                    "instanceStatus": None,
                    "newWorkitemIds": None,
                    "success": False,
                }
            )
        return Reply(400, results)


def _known_method(call: Call, *methods: str) -> None:
    if call.method not in methods:
        raise not_allowed(call.method, *methods)


def _root(call: Call, name: str, *parts: str) -> Reply:
    _known_method(call, "GET", "HEAD")
    return Reply(200, {part: call.url(f"/{name}/{part}") for part in parts})
