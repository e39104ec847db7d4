"""The table of what may go wrong at which vendor, and that each of its cells is run (``test_faults``)."""

from __future__ import annotations

import pytest

from meltano_assets.sandbox.fault_kinds import KINDS
from meltano_assets_tests.sources import test_faults as faults

#: Faults that are no reader's business, or are proved where they belong.
ELSEWHERE = {
    "foreign_link": "Zuora's product catalog has links, which nobody here reads",
    "drop_after": "writes, in the sync's tests",
    "slow": "no answer, only later",
    "slow_write": "writes, in the tests of the sandbox's Stripe",
    "no_updated_at": "in the tests of Marketo",
    "lock_rows": "sync",
    "missing_object": "in the tests of Salesforce",
    "record_error": "sync",
    "duplicate_rule": "sync",
    "read_only_field": "sync",
    "fail_bulk_job": "sync",
    "slow_bulk_job": "sync",
    "query_timeout": "in the tests of Salesforce",
}
VENDORS = ("salesforce", "zendesk", "zuora", "netsuite", "marketo", "lever", "stripe")


def met(source: str) -> set[str]:
    """The kinds that some test of the faults arms at that vendor."""
    roads = {road.name for road in faults.ROADS.values() if road.source == source}
    kinds = {kind for kind, _ in faults.PASSING.values()} | {
        kind for kind, *_ in faults.LASTING.values()
    }
    kinds |= {"expire_session"} | {kind for name, kind, *_ in faults.OWN if name in roads}
    if roads & set(faults.PAGED):
        kinds |= {"repeat_page", faults.CURSORS.get(source, "lose_cursor")}
    kinds |= {"foreign_link"} if roads & set(faults.LINKED) else set()
    kinds |= {"change_schema"} if roads & faults.FIELDS.keys() else set()
    return kinds | (
        {"missing_field", "change_type", "entities"} if source == "salesforce" else set()
    )


def of(everybody: str, **others: str) -> dict[str, str]:
    return {**dict.fromkeys(VENDORS, everybody), **others}


#: What may go wrong → by which fault each vendor shows it; "no: …" where it has no such thing.
BAD_INPUT = {
    "wrong credentials": of("test_wrong_credentials_are_asked_for_once"),
    "an expired token": of("expire_session"),
    "429 with Retry-After": of(
        "throttle",
        **dict.fromkeys(faults.WITHOUT_RETRY_AFTER, "no: the vendor promises no time"),
    ),
    "429 without Retry-After": of("throttle"),
    "an error in plain text": of("html"),
    "status 200 with an error inside": of(
        "html",
        marketo="server_error",
        netsuite="not_success",
        zuora="inside_error",
    ),
    "half a CSV": of(
        "no: its answers are JSON",
        salesforce="cut_results",
        zuora="cut_file",
        marketo="cut_file",
        netsuite="no: its answers are XML",
    ),
    "a completed job without its file": of(
        "no: it has no jobs", salesforce="lose_results", zuora="lose_file", marketo="file_missing"
    ),
    "a place of a list that expired": of(
        "lose_cursor", zuora="lose_locator", netsuite="expire_search"
    ),
    "a field that disappears": of("change_schema", salesforce="missing_field"),
    "a field that changes its type": of("change_schema", salesforce="change_type"),
    "the same page again": of("repeat_page"),
    "a link to another host": of(
        "no: its pages are asked for by tokens, which are no addresses",
        salesforce="foreign_link",
        zendesk="foreign_link",
        zuora="no: what is read has locators and ids of files, which are no addresses",
    ),
    "a redirect to another host": of("redirect"),
    "a gzip bomb": of("gzip_bomb"),
    "XML with entities": of(
        "no: it is asked for no XML", salesforce="entities", zuora="entities", netsuite="entities"
    ),
    "an answer cut in the middle": of("garbage"),
    "a connection cut in the middle": of("truncate"),
}


@pytest.mark.parametrize("item", BAD_INPUT)
def test_every_cell_of_the_table_is_run(item: str) -> None:
    assert BAD_INPUT[item].keys() == set(VENDORS)
    for source, kind in BAD_INPUT[item].items():
        if kind.startswith("no: "):
            continue
        if kind.startswith("test_"):
            assert callable(getattr(faults, kind))
            continue
        assert kind in KINDS[source], (source, kind)
        assert kind in met(source), (source, kind)


@pytest.mark.parametrize("source", VENDORS)
def test_every_fault_of_a_vendor_is_met(source: str) -> None:
    assert KINDS[source].keys() - met(source) - ELSEWHERE.keys() == set()
