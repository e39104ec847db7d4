"""Planning of host records against as many existing ones, and an unchanged second run.

    python -m benchmarks.sync                        # 100,000 records of about 1 kB
    python -m benchmarks.sync --rows 100000 --stats 2700

The org is the sandbox's Salesforce in a process of its own, reached over a socket. The first run
creates all records by bulk jobs (with --force, it is not timed); then one record in ten is changed in
the model and planned; then an unchanged run is pushed, which has nothing to send.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

from psycopg import sql

from benchmarks.load import opened
from meltano_assets.clients.salesforce import SalesforceClient
from meltano_assets.salesforce_sync.spec import load_spec
from meltano_assets.salesforce_sync.sync import plan_sync, run_sync
from meltano_assets.sandbox.server import serve_in_thread

MODEL = """
create schema if not exists sync;
create table sync.sync_salesforce_hosts as
select
    'host' || n || '.example' || n % 977 || '.com' as meltano_id__c,
    'host' || n || '.example' || n % 977 || '.com' as name,
    null::text as account__c, null::text as account_meltano_id,
    'https://host' || n || '.example' || n % 977 || '.com/admin' as original_hostname__c,
    n % 5000 as host_users__c, 'omnibus' as installation_type__c,
    date '2026-02-01' + n % 28 as last_ping__c,
    json_build_object('issues', n, 'padding', repeat(md5(n::text), {copies}))::text
        as raw_usage_stats__c,
    'request ' || n as raw_version_stats__c, 'https://version.example/' || n as version_link__c,
    '10.' || n % 9 || '.1' as gitlab_version__c, 'CE' as gitlab_edition__c,
    n::text as license_ids__c, n % 2 = 0 as mattermost_enabled__c,
    'WHOIS' as host_data_source__c
from generate_series(1, {rows}) as n
"""


def serve(folder: Path, pipe: Connection) -> None:
    """The sandbox, until the other end says so."""
    with serve_in_thread(state_dir=folder, seed=1, scale=0.1) as manifest:
        pipe.send({key: str(value) for key, value in manifest["salesforce"].items()})
        pipe.recv()


def peak() -> str:
    """The most memory that this process had since it was last asked; the mark is set back."""
    status = Path("/proc/self/status").read_text()
    kilobytes = next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]
    Path("/proc/self/clear_refs").write_text("5")
    return f"peak {int(kilobytes) // 1024:,} MiB"


def main() -> None:
    """Parse the command line; create, plan, run unchanged."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--stats", type=int, default=700, help="bytes of usage statistics")
    given = parser.parse_args()
    spec = load_spec()["hosts"]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as name, opened(Path(name) / "warehouse") as warehouse:
        server = context.Process(target=serve, args=(Path(name) / "sandbox", theirs))
        server.start()
        with SalesforceClient(ours.recv()) as client:
            model = sql.SQL(MODEL).format(
                rows=sql.Literal(given.rows), copies=sql.Literal(given.stats // 32)
            )
            with warehouse.connect() as connection:
                connection.execute(model)
            now = datetime.now(UTC)
            first = run_sync(
                warehouse, client, spec, push=True, now=now, run_id="first", force=True
            )
            print(
                f"created {first.created:,} in {first.seconds:.1f} s, {first.requests} requests, {peak()}"
            )

            for push in (False, True):
                again = run_sync(
                    warehouse, client, spec, push=push, now=now, run_id=f"unchanged-{push}"
                )
                print(
                    f"unchanged, {'pushed' if push else 'planned'}: {again.seconds:.1f} s, "
                    f"{again.unchanged:,} unchanged, {again.sent} sent, {again.requests} requests, {peak()}"
                )
            with warehouse.connect() as connection:
                connection.execute(
                    "update sync.sync_salesforce_hosts set host_users__c = host_users__c + 1"
                    " where host_users__c % 10 = 0"
                )
            began = time.perf_counter()
            plan = plan_sync(warehouse, client, spec, now=now, run_id="tenth")
            print(
                f"one in ten changed, planned: {time.perf_counter() - began:.1f} s, "
                f"{plan.updates:,} to change, {plan.requests} requests, {peak()}"
            )
        ours.send("enough")
        server.join(20)


if __name__ == "__main__":
    main()
