"""Reverse DNS: the name of a public address, with a time limit and a name server of choice."""

from __future__ import annotations

from itertools import count

from meltano_assets.clients.policy import Clock
from meltano_assets.environment import Variable
from meltano_assets.errors import FatalError
from meltano_assets.hosts.exchange import Pace, ProviderError
from meltano_assets.hosts.providers import (
    Answer,
    Settings,
    Step,
    cache_stream,
    requests_per_minute,
)

NAME = "dns"
REQUESTS_PER_MINUTE = 6_000
LIFETIME_SECONDS = 5.0
VARIABLES = (
    Variable(
        "DNS_HOST",
        "host",
        "the name server for reverse look-ups; without it the system's",
        is_required=False,
    ),
    Variable("DNS_PORT", "port", "its port", is_required=False, default="53"),
)


class ReverseDns:
    """Names of addresses (PTR records)."""

    name = NAME

    def __init__(
        self,
        settings: Settings,
        clock: Clock | None = None,
        lifetime_seconds: float = LIFETIME_SECONDS,
    ) -> None:
        import dns.exception
        import dns.resolver

        given = settings[NAME]
        port = str(given.get("port") or 53)
        if not port.isdigit():
            raise FatalError("the port is not a number", source=NAME)
        host = given.get("host")
        self._resolver = dns.resolver.Resolver(configure=not host)
        if host:
            self._resolver.nameservers = [str(host)]
            self._resolver.port = int(port)
        self._lifetime_seconds = lifetime_seconds
        rate = requests_per_minute(settings, NAME, REQUESTS_PER_MINUTE)
        self._pace = Pace(rate, 60.0, clock or Clock())
        self._counter = count(1)
        self.calls = 0

    def ask(self, name: str) -> Answer:
        """``host_name`` of the address; the name is not cleaned yet and not to be trusted."""
        import dns.exception
        import dns.resolver
        import dns.reversename

        self._pace.wait()
        self.calls = next(self._counter)
        try:
            found = self._resolver.resolve(
                dns.reversename.from_address(name),
                "PTR",
                lifetime=self._lifetime_seconds,
                search=False,
            )
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return Answer("miss")
        except dns.exception.Timeout:
            raise ProviderError("no answer in time") from None
        except (dns.exception.DNSException, OSError) as error:
            raise ProviderError(f"look-up failed: {type(error).__name__}") from None
        names = sorted(str(record.target).rstrip(".") for record in found)
        return Answer("hit" if names and names[0] else "miss", {"host_name": names[0] or None})


CACHE = cache_stream(
    "reverse_dns_cache",
    "ip",
    ("host_name", "clean_domain", "clean_full_domain"),
    "The cleaned names of public addresses.",
    has_raw_answer=False,
)
STEP = Step(
    NAME,
    CACHE,
    lambda settings, clock, limits: ReverseDns(settings, clock),
    (NAME,),
    max_failures=50,
)
