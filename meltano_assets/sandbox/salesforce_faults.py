"""What the simulated Salesforce can be told to do wrong, armed in the words of ``sandbox.faults``.

Faults of a request (``match`` is a part of ``METHOD /path?query``):

=====================  ===================================================================
``throttle``           429 with ``Retry-After`` (``retry_after_seconds``, default 1)
``unavailable``        503 ``SERVER_UNAVAILABLE`` with ``Retry-After``
``server_error``       500 ``UNKNOWN_EXCEPTION``
``request_limit``      403 ``REQUEST_LIMIT_EXCEEDED``: the daily limit
``concurrent_limit``   403 ``REQUEST_LIMIT_EXCEEDED``: too many long requests at once
``html``               a gateway's HTML page instead of JSON (``status``, default 502)
``drop``               the connection closes without an answer
``drop_after``         the request is carried out, then the connection closes without an answer
``truncate``           the body ends in the middle while the connection closes
``slow``               the answer waits ``seconds`` (default 1)
``drip``               the answer comes in small pieces over ``seconds``
``expire_session``     all sessions end: 401 ``INVALID_SESSION_ID`` until a new login
``repeat_page``        a query's ``nextRecordsUrl`` leads to the same page for ever
``lose_cursor``        400 ``INVALID_QUERY_LOCATOR`` for a query's next page
=====================  ===================================================================

Faults of records (``match`` is a part of ``Object operation key``, where the key is the external
id or the record id):

=====================  ===================================================================
``lock_rows``          ``UNABLE_TO_LOCK_ROW`` for that many records
``record_error``       the given ``code`` and ``message`` for that many records
=====================  ===================================================================

Faults of the org, in force until cleared (``times`` does not count):

=====================  ===================================================================
``duplicate_rule``     ``DUPLICATES_DETECTED`` on ``objects`` (default Account, Contact, Lead)
``missing_field``      ``field`` (``Object.Field``) is hidden from the user
``missing_object``     ``object`` is hidden, as if its package were not installed
``read_only_field``    ``field`` can be read but not written
``query_timeout``      queries that find more than ``rows`` records of ``object`` (default: any)
                       run for too long: 400 ``QUERY_TIMEOUT``, or a bulk query job that fails;
                       with ``counts`` also ``COUNT()``
=====================  ===================================================================

Faults of bulk jobs: ``fail_bulk_job`` with ``after`` (records processed before the job fails);
``slow_bulk_job`` with ``polls`` (further answers ``InProgress`` before it ends).
"""

from __future__ import annotations

from meltano_assets.sandbox.faults import FaultBox

REQUEST_FAULTS = (
    "throttle",
    "unavailable",
    "server_error",
    "request_limit",
    "concurrent_limit",
    "html",
    "drop",
    "drop_after",
    "truncate",
    "slow",
    "drip",
    "expire_session",
    "repeat_page",
    "lose_cursor",
)
RECORD_FAULTS = ("lock_rows", "record_error")
ORG_FAULTS = (
    "duplicate_rule",
    "missing_field",
    "missing_object",
    "read_only_field",
    "query_timeout",
)
JOB_FAULTS = ("fail_bulk_job", "slow_bulk_job")
KINDS = (*REQUEST_FAULTS, *RECORD_FAULTS, *ORG_FAULTS, *JOB_FAULTS)


def salesforce_faults() -> FaultBox:
    """A box for the faults of an org, empty."""
    return FaultBox(KINDS, standing=ORG_FAULTS)
