"""What the simulated Salesforce can be told to do wrong, armed in the words of ``sandbox.faults``.

The tables say what happens; ``match`` is a part of ``METHOD /path?query`` for faults of a request,
of ``Object operation key`` for faults of records, where the key is the external id or the record
id, and of ``Object operation`` for faults of bulk jobs.
"""

from __future__ import annotations

from collections.abc import Mapping

from meltano_assets.sandbox.faults import FaultBox

REQUEST_FAULTS: Mapping[str, str] = {
    "throttle": "429 with Retry-After (retry_after_seconds, default 1; with_retry_after=false"
    " leaves the header out)",
    "unavailable": "503 SERVER_UNAVAILABLE with Retry-After",
    "server_error": "500 UNKNOWN_EXCEPTION",
    "request_limit": "403 REQUEST_LIMIT_EXCEEDED: the daily limit",
    "concurrent_limit": "403 REQUEST_LIMIT_EXCEEDED: too many long requests at once",
    "html": "a gateway's HTML page instead of JSON (status, default 502)",
    "drop": "the connection closes without an answer",
    "drop_after": "the request is carried out, then the connection closes without an answer",
    "truncate": "the body ends in the middle while the connection closes",
    "garbage": "an answer of status 200 whose JSON ends in the middle",
    "huge": "an endless answer of status 200 (mebibytes, default 10)",
    "gzip_bomb": "a small body that unpacks to mebibytes (default 1024) of blanks",
    "redirect": "302 to location (default http://169.254.169.254/latest/meta-data/)",
    "slow": "the answer waits seconds (default 1)",
    "drip": "the answer comes in small pieces over seconds (default 1)",
    "expire_session": "all sessions end: 401 INVALID_SESSION_ID until a new login",
    "repeat_page": "a query's nextRecordsUrl leads to the same page, as does a job's locator",
    "foreign_link": "a query's nextRecordsUrl leads to another host (host, default"
    " http://203.0.113.66)",
    "lose_cursor": "400 INVALID_QUERY_LOCATOR for a query's next page",
    "lose_results": "404 for the results of a completed query job",
    "cut_results": "the CSV of a query job's results ends in the middle, at the end of a line",
    "entities": "an answer in XML with a DOCTYPE and entities",
}
RECORD_FAULTS: Mapping[str, str] = {
    "lock_rows": "UNABLE_TO_LOCK_ROW for that many records",
    "record_error": "the given code and message (fields) for that many records",
}
#: In force until cleared: ``times`` does not count.
ORG_FAULTS: Mapping[str, str] = {
    "duplicate_rule": "DUPLICATES_DETECTED on objects (default Account, Contact, Lead)",
    "missing_field": "field (Object.Field) is hidden from the user",
    "missing_object": "object is hidden, as if its package were not installed",
    "read_only_field": "field can be read but not written",
    "change_type": "field (Object.Field) is a text now, described and answered as such: value"
    " (default 'much')",
    "query_timeout": "queries that find more than rows records of object (default: any) run for"
    " too long: 400 QUERY_TIMEOUT, or a bulk query job that fails; with counts also COUNT()",
}
JOB_FAULTS: Mapping[str, str] = {
    "fail_bulk_job": "a job fails after so many records (after)",
    "slow_bulk_job": "a job is InProgress for so many further answers (polls)",
}
KINDS: Mapping[str, str] = {**REQUEST_FAULTS, **RECORD_FAULTS, **ORG_FAULTS, **JOB_FAULTS}


def salesforce_faults() -> FaultBox:
    """A box for the faults of an org, empty."""
    return FaultBox(KINDS, standing=ORG_FAULTS)
