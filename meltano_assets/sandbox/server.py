"""The running sandbox: every vendor at a port of its own on 127.0.0.1, and the control service.

``run`` blocks until SIGTERM or SIGINT; ``serve_in_thread`` is for tests. Everything that must
survive lies in ``state_dir`` (and, for the ``version`` database, in the given Postgres); started
again there, the company goes on where it was, at the same ports if they are free.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from meltano_assets.sandbox.addresses import LOOPBACK, WHOIS_CHAIN, Addresses
from meltano_assets.sandbox.company_stripe_records import API_VERSION
from meltano_assets.sandbox.control import Control, Manifest
from meltano_assets.sandbox.databases import DATABASES, CompanyDatabase, Login
from meltano_assets.sandbox.dns import NameServer, UdpProtocol
from meltano_assets.sandbox.enrichment_api import Clearbit, DiscoverOrg
from meltano_assets.sandbox.faults import FaultBox, parse_fault
from meltano_assets.sandbox.lever import Lever
from meltano_assets.sandbox.marketo import Marketo
from meltano_assets.sandbox.marketo_wire import Limits
from meltano_assets.sandbox.netsuite import CONCURRENCY, DEFAULT_VERSION, MANY, NetSuite
from meltano_assets.sandbox.netsuite_passport import Credentials
from meltano_assets.sandbox.rdap import Rdap
from meltano_assets.sandbox.registries import Registries
from meltano_assets.sandbox.service import Counted, Counters, HangUpProtocol, HttpService
from meltano_assets.sandbox.state import CompanyClock, StateFolder
from meltano_assets.sandbox.stripe import Stripe
from meltano_assets.sandbox.whois import Whois
from meltano_assets.sandbox.zendesk import Zendesk
from meltano_assets.sandbox.zuora import ENTITY, PARTNER, Zuora
from meltano_assets.sandbox.zuora_wire import ZONE

ZENDESK_EMAIL = "admin@meltano-sandbox.com"
DISCOVERORG_USERNAME = "sandbox@meltano-sandbox.com"
NETSUITE_ACCOUNT = "1234567_SB1"
NETSUITE_EMAIL = "finance@meltano-sandbox.com"
ZUORA_CLIENT_ID = "5d1a2b3c-0000-4000-8000-5a4e444e0001"
ZUORA_USERNAME = "billing@meltano-sandbox.com"


@dataclass(frozen=True, slots=True)
class Options:
    """What the sandbox is started with.

    ``netsuite_wsdl`` is a folder with a WSDL set for NetSuite to serve instead of its own;
    ``has_vendor_limits`` holds clients to the vendors' own rates (ten Zendesk exports a minute);
    without it the rates are so high that only a loop meets them.
    """

    state_dir: Path
    postgres_url: str | None = None
    seed: int = 1
    scale: float = 1.0
    today: date | None = None
    port_base: int | None = None
    faults: tuple[Mapping[str, object], ...] = ()
    database: str = "sandbox_version"
    has_vendor_limits: bool = False
    netsuite_wsdl: Path | None = None


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: several run in one loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Sandbox:
    """All services of one company, started and stopped together."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._folder = StateFolder(options.state_dir)
        self._secrets = self._folder.secrets()
        self.company = self._folder.company(options.seed, options.scale, options.today)
        self.clock = CompanyClock(self.company, self._folder)
        self._addresses = Addresses(self._folder, options.port_base)
        self._servers: list[_Server] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._plain: list[asyncio.Server] = []
        self._datagrams: list[asyncio.DatagramTransport] = []
        self._advancing = threading.Lock()
        self._logins: dict[str, Login] = {}
        self._build_services()

    def _build_services(self) -> None:
        from meltano_assets.sandbox.salesforce import SalesforceOrg, build_app

        def day() -> int:
            return self.clock.day

        made = self._secrets
        is_strict = self._options.has_vendor_limits
        self._org = SalesforceOrg(self._folder.path / "salesforce", self.company, self.clock)
        self._salesforce = Counted(build_app(self._org))
        self._marketo = Marketo(
            self.company,
            day,
            client_id=made["marketo_client_id"],
            client_secret=made["marketo_client_secret"],
            folder=self._folder.path / "marketo",
            now=self.clock.now,
            kept=self._folder,
            limits=Limits() if is_strict else Limits(calls=100_000, calls_a_day=10_000_000),
        )
        self._lever = Lever(
            self.company,
            day,
            api_key=made["lever_api_key"],
            oauth_token=made["lever_oauth_token"],
            per_second=10 if is_strict else 1_000,
            burst=20 if is_strict else 1_000,
            now=self.clock.now,
            folder=self._folder,
        )
        self._http: dict[str, HttpService] = {
            "zendesk": Zendesk(
                self.company,
                day,
                email=ZENDESK_EMAIL,
                api_token=made["zendesk_api_token"],
                oauth_token=made["zendesk_oauth_token"],
                exports_per_minute=10 if is_strict else 6_000,
                requests_per_minute=700 if is_strict else 60_000,
                now=self.clock.now,
                folder=self._folder,
            ).service,
            "discoverorg": DiscoverOrg(
                self.company,
                day,
                username=DISCOVERORG_USERNAME,
                password=made["discoverorg_password"],
                partner_key=made["discoverorg_partner_key"],
            ).service,
            "clearbit": Clearbit(
                self.company,
                day,
                api_key=made["clearbit_api_key"],
                requests_per_minute=600 if is_strict else 60_000,
            ).service,
            "stripe": Stripe(
                self.company,
                day,
                now=self.clock.now,
                api_key=_stripe_key(made),
                requests_per_minute=6_000 if is_strict else 1_000_000,
                forgets_events=is_strict,
                folder=self._folder,
            ).service,
            "zuora": Zuora(
                self.company,
                day,
                now=self.clock.now,
                folder=self._folder,
                client_id=ZUORA_CLIENT_ID,
                client_secret=made["zuora_client_secret"],
                username=ZUORA_USERNAME,
                password=made["zuora_password"],
                requests_per_minute=50_000 if is_strict else 1_000_000,
                polls=2 if is_strict else 0,
            ).service,
            "marketo": self._marketo.service,
            "lever": self._lever.service,
        }
        netsuite = NetSuite(
            self.company,
            day,
            credentials=self._netsuite_credentials(),
            wsdl_folder=self._options.netsuite_wsdl,
            concurrency=CONCURRENCY if is_strict else MANY,
            now=self.clock.now,
            folder=self._folder,
        )
        self._http["netsuite"] = netsuite.service
        registries = Registries(self.company, day)
        self._http["rdap"] = Rdap(registries).service
        self._whois = Whois(registries, lambda role: self._addresses.chain[role])
        self._dns = NameServer(registries)
        self._databases: dict[str, CompanyDatabase] = {}
        if self._options.postgres_url is not None:
            base = self._options.database
            self._databases = {
                name: CompanyDatabase(
                    self.company,
                    name,
                    self._options.postgres_url,
                    base if name == "version" else f"{base}_{name}",
                    made["version_password"],
                )
                for name in DATABASES
            }
        faults: dict[str, FaultBox] = {name: s.faults for name, s in self._http.items()}
        faults |= {"whois": self._whois.faults, "dns": self._dns.faults}
        faults["salesforce"] = self._org.faults
        faults |= {name: database.faults for name, database in self._databases.items()}
        counters: dict[str, Counters] = {"salesforce": self._salesforce.counters}
        counters |= {name: service.counters for name, service in self._http.items()}
        counters |= {"whois": self._whois.counters, "dns": self._dns.counters}
        self.control = Control(
            company=self.company,
            clock=self.clock,
            manifest=self.manifest,
            faults=faults,
            counters=counters,
            advance=self.advance,
            on_faults_changed=self._carry_out_faults,
            add_certificate=netsuite.tokens.add_certificate,
        )

    def _netsuite_credentials(self) -> Credentials:
        made = self._secrets
        return Credentials(
            account=NETSUITE_ACCOUNT,
            consumer_key=made["netsuite_consumer_key"],
            consumer_secret=made["netsuite_consumer_secret"],
            token_id=made["netsuite_token_id"],
            token_secret=made["netsuite_token_secret"],
            email=NETSUITE_EMAIL,
            password=made["netsuite_password"],
        )

    # Life

    async def start(self) -> Manifest:
        """Bring everything up; the manifest says where it is."""
        self._addresses.bind()
        day = self.clock.day
        filling = asyncio.create_task(asyncio.to_thread(self._fill_databases, day))
        await asyncio.to_thread(self._org.advance_to, day)
        await filling
        for fault in self._options.faults:
            self.control.arm(dict(fault))
        for database in self._databases.values():
            if database.faults.status():
                await asyncio.to_thread(database.take_faults)
        apps: dict[str, ASGIApp] = {
            "salesforce": self._salesforce,
            **self._http,
            "control": self.control,
        }
        for name, app in apps.items():
            await self._serve(name, app)
        await self._serve_lines()
        return self.manifest()

    async def _serve(self, name: str, app: ASGIApp) -> None:
        server = _Server(
            uvicorn.Config(
                app,
                http=HangUpProtocol,
                ws="none",
                lifespan="on" if name == "salesforce" else "off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=1,
            )
        )
        self._servers.append(server)
        task = asyncio.create_task(server.serve(sockets=[self._addresses.sockets[name]]))
        self._tasks.append(task)
        while not server.started:
            if task.done():
                await task
                raise RuntimeError(f"the service {name} did not start")
            await asyncio.sleep(0.002)

    async def _serve_lines(self) -> None:
        loop = asyncio.get_running_loop()
        roles = {"whois": "gateway", **{f"whois_{role}": role for role in WHOIS_CHAIN}}
        for name, role in roles.items():
            serve = functools.partial(self._whois.serve, role)
            self._plain.append(
                await asyncio.start_server(serve, sock=self._addresses.sockets[name])
            )
        self._plain.append(
            await asyncio.start_server(self._dns.serve_tcp, sock=self._addresses.sockets["dns"])
        )
        transport, _protocol = await loop.create_datagram_endpoint(
            lambda: UdpProtocol(self._dns), sock=self._addresses.sockets["dns_udp"]
        )
        self._datagrams.append(transport)

    async def stop(self) -> None:
        """Take everything down; nothing is lost."""
        for server in self._servers:
            server.should_exit = True
        for plain in self._plain:
            plain.close()
        for transport in self._datagrams:
            transport.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for open_socket in self._addresses.sockets.values():
            open_socket.close()
        close = getattr(self._org, "close", None)
        if close is not None:
            close()

    # Time and faults

    async def advance(self, days: int) -> dict[str, object]:
        """Let the company live on; the counts of what came or changed, by vendor."""
        since, counts = await asyncio.to_thread(self._advance, days)
        # These two make their records while they are asked, in this thread.
        counts["marketo"] = self._marketo.changes(since, since + days)
        counts["lever"] = self._lever.changes(since, since + days)
        return dict(counts)

    def _advance(self, days: int) -> tuple[int, dict[str, dict[str, int]]]:
        vendors = ("salesforce", "zendesk", "zuora", "netsuite", "stripe", *DATABASES)
        counts: dict[str, dict[str, int]] = {vendor: {} for vendor in vendors}

        def count(vendor: str, name: str, number: int) -> None:
            if number:
                counts[vendor][name] = counts[vendor].get(name, 0) + number

        with self._advancing:
            first = self.clock.day
            for _ in range(days):
                day = self.clock.day + 1
                self.company.build(day)
                self._org.advance_to(day)
                for database in self._databases.values():
                    database.advance_to(day)
                self.clock.move_to(day)
                for name, records in self.company.salesforce_records(day).items():
                    count("salesforce", name, len(records))
                for name in self._databases:
                    for table, rows in self.company.database_rows(name, day).items():
                        count(name, table, len(rows))
                count("zendesk", "tickets", len(self.company.zendesk_tickets(day)))
                for name, records in self.company.zuora_records(day).items():
                    count("zuora", name, len(records))
                for name, number in self.company.stripe(day).news(day).items():
                    count("stripe", name, number)
                since, until = self.company.now(day - 1), self.company.now(day)
                for name, number in self.company.books(day).changes(since, until).items():
                    count("netsuite", name, number)
        return first, counts

    def _carry_out_faults(self, service: str) -> None:
        if service in self._databases:
            self._databases[service].take_faults()

    def _fill_databases(self, day: int) -> None:
        self._logins = {name: each.prepare(day) for name, each in self._databases.items()}

    # Addresses

    def manifest(self) -> Manifest:
        """Service → addresses and credentials, as the vendor calls them."""
        made, org = self._secrets, self._org.credentials
        manifest: Manifest = {
            "salesforce": {
                "base_url": self._addresses.url("salesforce"),
                "login_url": self._addresses.url("salesforce"),
                "client_id": org.client_id,
                "client_secret": org.client_secret,
                "username": org.username,
                "password": org.password,
                "security_token": org.security_token,
                "refresh_token": org.refresh_token,
                "api_version": _api_version(),
            },
            "zendesk": {
                "base_url": self._addresses.url("zendesk"),
                "subdomain": "sandbox",
                "email": ZENDESK_EMAIL,
                "api_token": made["zendesk_api_token"],
                "oauth_token": made["zendesk_oauth_token"],
            },
            "discoverorg": {
                "base_url": self._addresses.url("discoverorg"),
                "username": DISCOVERORG_USERNAME,
                "password": made["discoverorg_password"],
                "partner_key": made["discoverorg_partner_key"],
            },
            "clearbit": {
                "base_url": self._addresses.url("clearbit"),
                "api_key": made["clearbit_api_key"],
            },
            "zuora": {
                "base_url": self._addresses.url("zuora"),
                "client_id": ZUORA_CLIENT_ID,
                "client_secret": made["zuora_client_secret"],
                "username": ZUORA_USERNAME,
                "password": made["zuora_password"],
                "partner_id": PARTNER,
                "entity_id": ENTITY,
                "time_zone": str(ZONE),
            },
            "stripe": {
                "base_url": self._addresses.url("stripe"),
                "api_key": _stripe_key(made),
                "api_version": API_VERSION,
            },
            "marketo": {
                "base_url": self._addresses.url("marketo"),
                "client_id": made["marketo_client_id"],
                "client_secret": made["marketo_client_secret"],
                "calls_per_20_seconds": 100 if self._options.has_vendor_limits else 10_000,
            },
            "lever": {
                "base_url": self._addresses.url("lever") + "/v1",
                "api_key": made["lever_api_key"],
                "oauth_token": made["lever_oauth_token"],
                "requests_per_second": 10 if self._options.has_vendor_limits else 500,
            },
            "netsuite": {
                "base_url": self._addresses.url("netsuite"),
                "account": NETSUITE_ACCOUNT,
                "consumer_key": made["netsuite_consumer_key"],
                "consumer_secret": made["netsuite_consumer_secret"],
                "token_id": made["netsuite_token_id"],
                "token_secret": made["netsuite_token_secret"],
                "wsdl_version": DEFAULT_VERSION,
                "email": NETSUITE_EMAIL,
                "password": made["netsuite_password"],
                "role": "3",
            },
            "rdap": {"bootstrap_url": self._addresses.url("rdap") + "/rdap/dns.json"},
            "whois": {
                "host": LOOPBACK,
                "port": self._addresses.ports["whois"],
                "iana_host": self._addresses.chain["iana"][0],
                "iana_port": self._addresses.chain["iana"][1],
            },
            "dns": {"host": LOOPBACK, "port": self._addresses.ports["dns"]},
            "control": {"base_url": self._addresses.url("control")},
        }
        for name, login in self._logins.items():
            manifest[name] = {
                "url": login.url,
                "host": login.host,
                "port": login.port,
                "user": login.user,
                "password": login.password,
                "dbname": login.dbname,
            }
        return manifest


def _stripe_key(made: Mapping[str, str]) -> str:
    return f"sk_test_{made['stripe_api_key']}"


def _api_version() -> str:
    from meltano_assets.sandbox.salesforce_org import DEFAULT_API_VERSION

    return DEFAULT_API_VERSION


def _options(
    *,
    state_dir: Path,
    postgres_url: str | None,
    seed: int,
    scale: float,
    today: date | None,
    port_base: int | None,
    faults: Iterable[str | Mapping[str, object]],
    database: str,
    has_vendor_limits: bool,
    netsuite_wsdl: Path | None,
) -> Options:
    return Options(
        state_dir=Path(state_dir),
        postgres_url=postgres_url,
        seed=seed,
        scale=scale,
        today=today.date() if isinstance(today, datetime) else today,
        port_base=port_base,
        faults=tuple(parse_fault(f) if isinstance(f, str) else f for f in faults),
        database=database,
        has_vendor_limits=has_vendor_limits,
        netsuite_wsdl=netsuite_wsdl,
    )


def run(
    *,
    state_dir: Path,
    postgres_url: str | None,
    on_ready: Callable[[Manifest], None],
    seed: int = 1,
    scale: float = 1.0,
    today: date | None = None,
    port_base: int | None = None,
    faults: Iterable[str | Mapping[str, object]] = (),
    database: str = "sandbox_version",
    has_vendor_limits: bool = False,
    netsuite_wsdl: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; ``on_ready`` gets the manifest once everything answers.

    ValueError when the folder holds another company or a fault does not exist.
    """
    options = _options(
        state_dir=state_dir,
        postgres_url=postgres_url,
        seed=seed,
        scale=scale,
        today=today,
        port_base=port_base,
        faults=faults,
        database=database,
        has_vendor_limits=has_vendor_limits,
        netsuite_wsdl=netsuite_wsdl,
    )

    async def serve() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        sandbox = Sandbox(options)
        try:
            manifest = await sandbox.start()
            # The company is there to stay: the collector need not look at its records again.
            gc.freeze()
            on_ready(manifest)
            await stopping.wait()
        finally:
            await sandbox.stop()

    asyncio.run(serve())


@contextlib.contextmanager
def serve_in_thread(
    *,
    state_dir: Path,
    postgres_url: str | None = None,
    seed: int = 1,
    scale: float = 1.0,
    today: date | None = None,
    port_base: int | None = None,
    faults: Iterable[str | Mapping[str, object]] = (),
    database: str = "sandbox_version",
    has_vendor_limits: bool = False,
    netsuite_wsdl: Path | None = None,
) -> Iterator[Manifest]:
    """The sandbox in a thread of this process while the block runs; gives the manifest.

    Without a Postgres URL there is no ``version`` database. The control service of the manifest
    does the rest: ``/truths``, ``/advance``, ``/faults``, ``/requests``.
    """
    options = _options(
        state_dir=state_dir,
        postgres_url=postgres_url,
        seed=seed,
        scale=scale,
        today=today,
        port_base=port_base,
        faults=faults,
        database=database,
        has_vendor_limits=has_vendor_limits,
        netsuite_wsdl=netsuite_wsdl,
    )
    sandbox = Sandbox(options)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(sandbox.start(), loop).result(60)
    finally:
        asyncio.run_coroutine_threadsafe(sandbox.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
