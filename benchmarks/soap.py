"""A page of 1,000 SOAP records: our way to typed Arrow, against zeep's own objects.

    python benchmarks/soap.py [--records 1000] [--rounds 7] [--wsdl FOLDER]

Both read the same bytes of an answer. zeep makes its objects, as its users get them; we make the
columns of the stream, every value typed (numeric, timestamptz, date, boolean, JSON). In each
round both read the page, and the ratio is taken inside the round, of processor time. ``--wsdl``
takes the vendor's own contract instead of the small one of the sandbox.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

VERSION = "2017_2"
GOAL = 3.0


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--records", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--wsdl", type=Path)
    given = arguments.parse_args()

    import zeep

    from meltano_assets.clients.netsuite import search_page
    from meltano_assets.clients.soap import find, parse_xml
    from meltano_assets.sandbox.company import Company
    from meltano_assets.sandbox.netsuite_contract import contract_in, own_contract
    from meltano_assets.sandbox.netsuite_wire import Writer
    from meltano_assets.sources.netsuite_streams import CUSTOMERS, TRANSACTION_ITEMS, TRANSACTIONS
    from meltano_assets.sources.xml_records import XmlColumns

    contract = contract_in(given.wsdl) if given.wsdl else own_contract()
    writer = Writer(contract, VERSION)
    company = Company(1, 0.3, date(2026, 1, 31))
    state = company.books(0).state(datetime.now(UTC) + timedelta(days=365))
    with tempfile.TemporaryDirectory() as folder:
        for name in contract.names:
            content = contract.file(name, VERSION, "http://127.0.0.1")
            (Path(folder) / name).write_bytes(content or b"")
        client = zeep.Client(f"{folder}/netsuite.wsdl")
    binding = client.service._binding
    operation = binding._operations["search"]

    def page(kind: str) -> bytes:
        records = list(state[kind].values())
        many = [(kind, records[i % len(records)]) for i in range(given.records)]
        content = (
            f"{writer.status()}<core:totalRecords>{given.records}</core:totalRecords>"
            f"<core:pageIndex>1</core:pageIndex>{writer.records(many, body_only=False, extra={})}"
        )
        return writer.envelope(writer.answer("search", "searchResult", content), "1")

    def by_zeep(body: bytes) -> int:
        answer = SimpleNamespace(
            status_code=200, headers={"Content-Type": "text/xml"}, content=body, encoding="utf-8"
        )
        result = binding.process_reply(client, operation, answer).body.searchResult
        return len(result.recordList.record)

    def by_us(body: bytes, read: Callable[[list[object]], object]) -> int:
        found = search_page(find(parse_xml(body), "Body"))
        read(list(found.records))
        return len(found.records)

    print(f"{'page':26s} {'MB':>5s} {'zeep rec/s':>11s} {'ours rec/s':>11s} {'ratio':>7s}")
    for title, kind, read in (
        ("customers", "Customer", XmlColumns(CUSTOMERS.columns).batch),
        ("invoices with their lines", "Invoice", XmlColumns(TRANSACTIONS.columns).batch),
        (
            "lines of invoices",
            "Invoice",
            lambda records: XmlColumns(TRANSACTION_ITEMS.columns, ("line",)).line_batch(
                records, "itemList"
            ),
        ),
    ):
        body = page(kind)
        ratios, theirs, ours = [], [], []
        for _ in range(given.rounds):
            begin = time.process_time()
            assert by_zeep(body) == given.records
            middle = time.process_time()
            assert by_us(body, read) == given.records
            end = time.process_time()
            theirs.append(middle - begin)
            ours.append(end - middle)
            ratios.append(theirs[-1] / ours[-1])
        ratio = statistics.median(ratios)
        print(
            f"{title:26s} {len(body) / 1e6:5.1f} {given.records / statistics.median(theirs):11,.0f}"
            f" {given.records / statistics.median(ours):11,.0f} {ratio:6.1f}x"
            f"{'' if ratio >= GOAL else f'  below {GOAL:g}x'}"
        )


if __name__ == "__main__":
    main()
