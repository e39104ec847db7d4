"""S1, claims about planning of large models: its memory, its questions and its speed."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import date
from decimal import Decimal

import pyarrow as pa

from meltano_assets.salesforce_sync.compare import plan, selected_fields
from meltano_assets.salesforce_sync.spec import Reference
from meltano_assets_tests.salesforce_sync.builders import NOW, host_org, host_spec


def test_large_models_are_compared_piece_by_piece_and_parents_asked_for_once():
    n, size = 12_000, 8_000
    parent = {"parent": {"relationship": "Account__r", "external_id": "Meltano_Id__c"}}
    spec = host_spec({"notes": {"field": "Notes__c", "policy": "own"}}, references=parent)
    org = host_org()
    text = "x" * size
    keys = [f"h{number}" for number in range(n)]
    keys[7] = keys[11_900]
    wanted = [f"{number} {text}" for number in range(n)]
    changed = {3, 5_999, 6_001, 11_999}
    held = [f"{text} {number}" if number in changed else wanted[number] for number in range(n)]
    # The last thousand has no record yet; the others' stand in another order and in five chunks.
    order = [number * 7 % (n - 1_000) for number in range(n - 1_000)]
    names = selected_fields(spec, org)
    chunks = []
    for start in range(0, len(order), 2_500):
        part = order[start : start + 2_500]
        known = {
            "Id": [f"a00{number:012d}AAA" for number in part],
            "Meltano_Id__c": [f"H{number}" for number in part],
            "Notes__c": [held[number] for number in part],
        }
        chunks.append(
            pa.table(
                {
                    name: pa.array(known.get(name, [None] * len(part)), pa.large_string())
                    for name in names
                }
            )
        )
    current = pa.concat_tables(chunks)
    parents = [
        f"p{number}.com" if number in {5_999, 11_000, 11_500} else None for number in range(n)
    ]
    rows = pa.table({"meltano_id__c": keys, "notes": wanted, "parent": parents})
    asked: list[set[str]] = []

    def lookup(reference: Reference, names: Collection[str]) -> Collection[str]:
        asked.append(set(names))
        return {"P5999.com", "p11000.com"}

    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    try:
        made = plan(spec, rows, current, org, {}, run_id="run", now=NOW, parents=lookup)
    finally:
        pa.set_memory_pool(usual)
    assert counting.max_memory() < rows.nbytes
    assert asked == [{"p5999.com", "p11000.com", "p11500.com"}]
    updates = {each.key: each for each in made.changes if each.action == "update"}
    assert set(updates) == {"h3", "h5999", "h6001"}
    assert updates["h6001"].record_id == "a00000000006001AAA"
    assert updates["h6001"].before["Notes__c"] == held[6_001]
    assert updates["h6001"].after["Notes__c"] == wanted[6_001]
    parked = [(each.key, each.reject.reason) for each in made.parked]
    assert sorted(parked) == [
        ("h11500", "reference_not_found"),
        ("h11900", "duplicate_key"),
        ("h11900", "duplicate_key"),
    ]
    assert made.creations == 1_000 - 2
    assert made.unchanged == n - 1_000 - 1 - 3


def test_a_hundred_thousand_hosts_are_planned_in_seconds():
    n = 100_000
    spec = host_spec(
        {
            "name": "Name",
            "users": "Host_Users__c",
            "ping": "Last_Ping__c",
            "notes": "Notes__c",
            "licenses": "License_Ids__c",
            "mattermost": "Mattermost_Enabled__c",
            "source": "Source__c",
        }
    )
    org = host_org()
    day = date(2026, 2, 1)
    notes = [f'{{"issues": {i}, "padding": "{"x" * 200}"}}' for i in range(n)]
    rows = pa.table(
        {
            "meltano_id__c": [f"host{i}.example.com" for i in range(n)],
            "name": [f"host{i}.example.com" for i in range(n)],
            "users": pa.array([Decimal(i % 5000) for i in range(n)]),
            "ping": [day] * n,
            "notes": notes,
            "licenses": [str(i) for i in range(n)],
            "mattermost": [i % 2 == 0 for i in range(n)],
            "source": ["WHOIS"] * n,
        }
    )
    current = pa.table(
        {
            "Id": [f"a00{i:012d}AAA" for i in range(n)],
            "Meltano_Id__c": [f"HOST{i}.example.com" for i in range(n)],
            "Name": [f"host{i}.example.com" for i in range(n)],
            "Host_Users__c": [str(i % 5000 if i % 10 else i % 5000 + 1) for i in range(n)],
            "Last_Ping__c": ["2026-02-01"] * n,
            "Notes__c": notes,
            "License_Ids__c": [str(i) for i in range(n)],
            "Mattermost_Enabled__c": [str(i % 2 == 0).lower() for i in range(n)],
            "Source__c": ["WHOIS"] * n,
        }
    )
    assert tuple(current.column_names) == selected_fields(spec, org)
    started = time.perf_counter()
    made = plan(spec, rows, current, org, {}, run_id="r", now=NOW)
    seconds = time.perf_counter() - started
    assert (made.updates, made.creations, made.unchanged) == (10_000, 0, 90_000)
    assert seconds < 10
