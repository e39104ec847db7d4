"""What each service can be told to do wrong: kind → what happens, with its options in words.

The command line shows these tables, and a service takes no other kind. ``faults`` arms them.
"""

from __future__ import annotations

from collections.abc import Mapping

from meltano_assets.sandbox import salesforce_faults

Kinds = Mapping[str, str]

#: Of every HTTP service.
REQUEST: Kinds = {
    "throttle": 'the vendor\'s "too many requests" with Retry-After where the vendor sends one'
    " (retry_after_seconds, default 1; with_retry_after=false leaves the header out)",
    "unavailable": "503",
    "server_error": "500",
    "html": "a gateway's HTML page instead of an answer (status, default 502)",
    "drop": "the connection closes without an answer",
    "drop_after": "the request is carried out, then the connection closes without an answer",
    "truncate": "the body ends in the middle while the connection closes",
    "garbage": "an answer of status 200 whose JSON or XML ends in the middle",
    "huge": "an endless answer of status 200 (mebibytes, default 10)",
    "gzip_bomb": "a small body that unpacks to mebibytes (default 1024) of blanks",
    "redirect": "302 to location (default http://169.254.169.254/latest/meta-data/)",
    "slow": "the answer waits seconds (default 1)",
    "drip": "the answer comes in small pieces over seconds (default 1)",
}
_SESSION: Kinds = {"expire_session": "sessions end, where the vendor has sessions; else one 401"}
#: Of lists in pages.
_LISTING: Kinds = {
    "repeat_page": "the next page is the same page again, until cleared or counted out",
    "change_schema": "records gain add {name: value}, lose drop [name], get other values by"
    " retype {name: value}; in force until cleared",
}
_FORBIDDEN: Kinds = {"forbidden": "403: the plan, the user or the key does not include it"}
_FOREIGN_LINK: Kinds = {
    "foreign_link": "links to the next page lead to another host (host, default"
    " http://203.0.113.66)"
}
_LOSE_CURSOR: Kinds = {"lose_cursor": "the vendor no longer knows the place of the next page"}

MARKETO: Kinds = {
    **REQUEST,
    **_SESSION,
    **_LISTING,
    **_LOSE_CURSOR,
    "server_error": "500, or an error inside an answer of status 200 (code, message)",
    "quota": "607: the calls of the day are used up",
    "too_many_at_once": "615: too many calls at once",
    "no_updated_at": "1035: the subscription knows no filter by time of change",
    "export_quota": "1029: the exports of the day are used up",
    "queue_full": "1029: ten export jobs wait already",
    "job_failed": "an export job fails",
    "job_stuck": "an export job stays queued",
    "file_missing": "404 for the file of a completed job",
    "file_error": "an error in JSON instead of the file",
    "cut_file": "the file ends in the middle",
    "wrong_checksum": "the file is another than the job told of",
}
_ENTITIES: Kinds = {"entities": "an answer in XML with a DOCTYPE and entities"}
NETSUITE: Kinds = {
    **REQUEST,
    **_SESSION,
    **_LISTING,
    "fault": "a SOAP fault by name (invalidSessionFault …), code and message",
    "not_success": "an answer of status 200 whose status says no, by code",
    **_ENTITIES,
    "expire_search": "every open search ends",
}
ZUORA: Kinds = {
    **REQUEST,
    **_SESSION,
    **_LISTING,
    **_FOREIGN_LINK,
    **_ENTITIES,
    "inside_error": "an error inside an answer of status 200 (code, message)",
    "concurrency": "429: too many requests at once, to be tried again in two minutes",
    "lose_locator": "the locator of a query's next page has expired",
    "job_error": "a job ends in error (message)",
    "job_aborted": "a job is aborted",
    "job_stuck": "a job stays executing",
    "lose_job": "the job is no longer known",
    "lose_file": "404 for the file of a completed job",
    "cut_file": "the file ends in the middle, at the end of a line",
}
_LINES: Kinds = {
    "throttle": "a registry's words for too many questions; refused in DNS",
    "server_error": "an internal error; SERVFAIL in DNS",
    "drop": "the connection closes without an answer; silence in DNS",
    "truncate": "half an answer",
    "garbage": "an answer that cannot be read",
    "slow": "the answer waits seconds (default 1)",
}
_DATABASE: Kinds = {
    "refuse": "logins fail; in force until cleared",
    "terminate": "open sessions are cut, once",
    "change_schema": "a table gains add {column: type} and loses drop [column]"
    " (table, default the first)",
}

KINDS: Mapping[str, Kinds] = {
    "salesforce": salesforce_faults.KINDS,
    "zendesk": {
        **REQUEST,
        **_SESSION,
        **_FORBIDDEN,
        **_LISTING,
        **_FOREIGN_LINK,
        **_LOSE_CURSOR,
    },
    "zuora": ZUORA,
    "netsuite": NETSUITE,
    "marketo": MARKETO,
    "lever": {**REQUEST, **_SESSION, **_FORBIDDEN, **_LISTING, **_LOSE_CURSOR},
    "stripe": {
        **REQUEST,
        **_SESSION,
        **_FORBIDDEN,
        **_LISTING,
        **_LOSE_CURSOR,
        "slow_write": "a write is under way for seconds (default 1), its idempotency key in use",
    },
    "discoverorg": {**REQUEST, **_SESSION},
    "clearbit": {**REQUEST, **_SESSION, "quota": "402: the calls of the period are used up"},
    "rdap": REQUEST,
    "whois": {
        **_LINES,
        "drip": "the answer comes in small pieces over seconds (default 1)",
        "huge": "an endless answer (mebibytes, default 10)",
        "refer": "the answer refers to another server (to, default the one that was asked)",
    },
    "dns": _LINES,
    "version": _DATABASE,
    "license": _DATABASE,
    "customers": _DATABASE,
    "ci_stats": _DATABASE,
}
