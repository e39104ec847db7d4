"""Installations of the product out in the world, their pings, and what providers know.

Every raw host carries the kind and the clean names that it must get; nothing here cleans.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from typing import Literal

from meltano_assets.sandbox.company_sales import Clockwork, Record
from meltano_assets.sandbox.company_words import Organisation, dice

Kind = Literal["domain", "ipv4", "ipv6", "internal", "invalid"]
Registrant = Literal["organisation", "redacted", "unregistered"]
ClearbitAnswer = Literal["hit", "miss", "pending", "invalid"]

#: Releases in true order; as text, 9.5.10 is greater than 10.1.4.
RELEASES = (
    "8.17.8",
    "9.0.13",
    "9.5.10",
    "9.11.0",
    "10.0.7",
    "10.1.4",
    "10.8.2",
    "10.10.0",
    "11.0.3",
    "11.2.1",
)

_HOST_LABELS = (
    "git",
    "gitlab",
    "code",
    "repo",
    "scm",
    "source",
    "dev.git",
    "gitlab.eu",
    "vcs",
    "build.lab",
)
_PATHS = ("/", "/admin", "/users/sign_in", "/dashboard/projects", "/admin/background_jobs?page=2")

INTERNAL_RAW = (
    "localhost",
    "http://localhost:8080/admin",
    "gitlab",
    "http://gitlab/users/sign_in",
    "gitlab-server.local",
    "https://git.corp/",
    "code.lan",
    "gitlab.internal",
    "http://gitlab.intranet/admin",
    "gitlab.home.arpa",
    "GITLAB.LOCALDOMAIN",
)
PRIVATE_IPS = (
    "10.0.4.17",
    "http://10.20.30.40/admin",
    "192.168.1.5",
    "https://192.168.178.20:8443/",
    "172.16.0.9",
    "172.31.255.4",
    "127.0.0.1",
    "http://127.0.0.1:3000/",
    "169.254.10.20",
    "100.64.3.2",
    "[::1]",
    "http://[fe80::1]/",
    "fd12:3456:789a::1",
)
INVALID_RAW = (
    "http://",
    "${EXTERNAL_URL}",
    "%%HOSTNAME%%",
    "git lab example com",
    "<script>alert(1)</script>",
    "!!!",
    "https://[zz::1]/",
    "a" * 80 + ".com",
)
#: Raw form → address. Anchored-looking traps: these are public although they contain 10. or 172.16.
PUBLIC_IPV4 = {
    "88.198.20.14": "88.198.20.14",
    "http://5.9.110.33:8080/users/sign_in": "5.9.110.33",
    "110.10.45.6": "110.10.45.6",
    "1.10.172.16": "1.10.172.16",
    "https://52.18.33.201/": "52.18.33.201",
    "http://1489144853/": "88.194.140.21",
    "http://0x58.0xc6.0x14.0x63/": "88.198.20.99",
    "193.99.144.80": "193.99.144.80",
    "46.4.88.201": "46.4.88.201",
    "81.2.69.142": "81.2.69.142",
}
PUBLIC_IPV6 = {
    "2a01:4f8:c17:3c2a::2": "2a01:4f8:c17:3c2a::2",
    "http://[2a00:1450:4001:81b::200e]:8080/": "2a00:1450:4001:81b::200e",
    "[2606:4700:30:0:0:0:681b:8d4f]": "2606:4700:30::681b:8d4f",
}
FREE_MAIL_DOMAINS = ("gmail.com", "outlook.com", "yahoo.com", "web.de", "gmx.net")
HOSTING_DOMAINS = ("greenwaves.github.io", "ci-runner.herokuapp.com", "redfox.dyndns.org")
EXCLUDED = {"microsoft.com": "Microsoft", "amazon.com": "Amazon.com"}
#: The registrable domain of an internet provider whose customers' reverse names end in it.
ACCESS_PROVIDER_DOMAIN = "kabelnetz-sued.de"
IDN_DOMAINS = ("müllertechnik.de", "sørensengruppen.com")


@dataclass(frozen=True, slots=True)
class DomainFacts:
    """What the outside world knows of one registrable domain.

    ``clearbit_from_day`` is the day on which a pending answer of Clearbit becomes a hit.
    """

    domain: str
    organisation: Organisation | None
    discoverorg: bool = False
    clearbit: ClearbitAnswer = "miss"
    clearbit_from_day: int = 0
    registrant: Registrant = "redacted"
    from_day: int = 0

    def clearbit_on(self, day: int) -> ClearbitAnswer:
        """Clearbit's answer on that day."""
        is_ready = self.clearbit == "pending" and day >= self.clearbit_from_day
        return "hit" if is_ready else self.clearbit

    def provider_on(self, day: int) -> str | None:
        """The first provider of the waterfall that names a company."""
        if self.discoverorg:
            return "discoverorg"
        if self.clearbit_on(day) == "hit":
            return "clearbit"
        return "whois" if self.registrant == "organisation" else None

    def company_name_on(self, day: int) -> str | None:
        """The company's name as that provider gives it."""
        provider = self.provider_on(day)
        if provider is None or self.organisation is None:
            return None
        return self.organisation.legal_name if provider == "whois" else self.organisation.name


@dataclass(frozen=True, slots=True)
class RawHost:
    """One spelling in the pings and what it must be cleaned to."""

    raw: str
    kind: Kind
    clean_domain: str | None
    clean_full_domain: str | None


@dataclass(frozen=True, slots=True)
class Installation:
    """One installed server: its names and how it pings.

    Without ``sends_hostname`` the usage ping's host name is null and ``usage_raw`` its address.
    """

    number: int
    uuid: str
    usage_raw: RawHost | None
    referers: tuple[RawHost, ...]
    source_ip: str
    edition: str
    installation_type: str
    users: int
    first_release: int
    last_release: int
    first_ping: float
    last_ping: float
    license_id: int | None = None
    sends_hostname: bool = True
    from_day: int = 0

    @property
    def raw_hosts(self) -> tuple[RawHost, ...]:
        """Every raw spelling under which it pings."""
        return ((self.usage_raw,) if self.usage_raw else ()) + self.referers

    def version(self, release: int) -> str:
        """The version text of a release in this edition."""
        return RELEASES[release] + ("" if self.edition == "CE" else "-ee")


def domain_host(full_domain: str, domain: str, rng: random.Random, *, as_url: bool) -> RawHost:
    """A raw spelling of a full domain: a bare name, or a URL with its usual decorations."""
    name = full_domain
    draw = rng.random()
    if draw < 0.08:
        name = name.upper()
    elif draw < 0.13:
        name += "."
    if not as_url:
        raw = name if rng.random() < 0.9 else f"{name}:{rng.choice([8080, 8443])}"
        return RawHost(raw, "domain", domain, full_domain)
    scheme = rng.choice(["https://", "https://", "http://"])
    login = "admin:s3cret@" if rng.random() < 0.03 else ""
    port = rng.choice(["", "", "", ":8443", ":8080"])
    return RawHost(
        f"{scheme}{login}{name}{port}{rng.choice(_PATHS)}", "domain", domain, full_domain
    )


class InstallationMaker:
    """Makes installations in order, with numbers and ids of their own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.count = 0

    def make(
        self,
        usage: RawHost | None,
        referers: tuple[RawHost, ...],
        *,
        edition: str = "CE",
        from_day: int = 0,
        is_old: bool = False,
        sends_hostname: bool = True,
    ) -> Installation:
        """An installation; an old one last pinged more than sixty days before the anchor."""
        self.count += 1
        number = self.count
        rng = dice(f"{self._seed}:installation:{number}")
        first_release = rng.randrange(0, len(RELEASES) - 1)
        last_release = rng.randrange(first_release, len(RELEASES))
        if number % 9 == 0:  # text maximum and version maximum differ
            first_release, last_release = 2, 5
        if from_day:
            first, last = from_day - 0.5, from_day - 0.5
        elif is_old:
            first, last = rng.uniform(-110, -90), rng.uniform(-85, -65)
        else:
            first, last = rng.uniform(-29, -20), rng.uniform(-12, -0.2)
        address = f"{rng.randrange(60, 90)}.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}.{rng.randrange(1, 250)}"
        return Installation(
            number=number,
            uuid=f"{rng.getrandbits(32):08x}-{rng.getrandbits(16):04x}-4{rng.getrandbits(12):03x}"
            f"-a{rng.getrandbits(12):03x}-{rng.getrandbits(48):012x}",
            usage_raw=usage,
            referers=referers,
            source_ip=usage.raw if usage and not sends_hostname else address,
            edition=edition,
            installation_type=rng.choice(["omnibus", "omnibus", "docker", "source", "helm"]),
            users=max(1, round(rng.lognormvariate(3.3, 1.3))),
            first_release=first_release,
            last_release=last_release,
            first_ping=first,
            last_ping=last,
            license_id=None if edition == "CE" else 1_000 + number,
            sends_hostname=sends_hostname,
            from_day=from_day,
        )

    def for_domain(
        self,
        rng: random.Random,
        domain: str,
        label: str,
        *,
        edition: str = "CE",
        from_day: int = 0,
        is_old: bool = False,
        spelling: str | None = None,
    ) -> Installation:
        """An installation at ``label.domain``; ``spelling`` is the domain in Unicode, if any."""
        full = f"{label}.{domain}" if label else domain
        usage = domain_host(full, domain, rng, as_url=False)
        if spelling:
            usage = replace(usage, raw=f"{label}.{spelling}" if label else spelling)
        referers = tuple(
            dict.fromkeys(
                domain_host(full, domain, rng, as_url=True)
                for _ in range(1 if rng.random() < 0.7 else 2)
            )
        )
        draw = rng.random()
        return self.make(
            None if draw < 0.12 else usage,
            () if draw > 0.85 else referers,
            edition=edition,
            from_day=from_day,
            is_old=is_old,
        )


def host_labels(rng: random.Random, count: int) -> list[str]:
    """Different host labels below one domain."""
    return rng.sample(_HOST_LABELS, min(count, len(_HOST_LABELS)))


def _stats(rng: random.Random, users: int) -> dict[str, int]:
    return {
        "ci_builds": users * rng.randrange(0, 90),
        "deployments": users * rng.randrange(0, 9),
        "environments": rng.randrange(0, 40),
        "groups": rng.randrange(1, 2 + users),
        "issues": users * rng.randrange(0, 60),
        "merge_requests": users * rng.randrange(0, 40),
        "milestones": rng.randrange(0, 30),
        "notes": users * rng.randrange(0, 200),
        "projects": users * rng.randrange(1, 6),
        "todos": users * rng.randrange(0, 20),
    }


def usage_ping(
    installation: Installation, clock: Clockwork, day: float, release: int, users: int
) -> Record:
    """One weekly report; its id is given when all pings are in order."""
    rng = dice(f"{installation.uuid}:usage:{day:.4f}")
    moment = clock.at(day)
    counters = _stats(rng, users)
    is_licensed = installation.license_id is not None
    return {
        "source_ip": installation.source_ip,
        "version": installation.version(release),
        "active_user_count": users,
        "license_add_ons": '{"GitLab_FileLocks":1}' if is_licensed else None,
        "installation_type": installation.installation_type,
        "license_id": installation.license_id,
        "license_starts_at": clock.at(-300) if is_licensed else None,
        "license_expires_at": clock.at(65) if is_licensed else None,
        "license_user_count": users + 10 if is_licensed else None,
        "license_restricted_user_count": users + 20 if is_licensed else None,
        "historical_max_users": users + 3 if is_licensed else None,
        "uuid": installation.uuid,
        "edition": installation.edition,
        "hostname": installation.usage_raw.raw
        if installation.usage_raw and installation.sends_hostname
        else None,
        "host_id": installation.number,
        "mattermost_enabled": installation.number % 4 == 0,
        "recorded_at": moment,
        "created_at": moment,
        "updated_at": moment,
        "counts": json.dumps(dict(list(counters.items())[:3])),
        "stats": json.dumps(counters),
    }


def version_check(
    installation: Installation, clock: Clockwork, day: float, release: int, raw: str
) -> Record:
    """One question whether the version is current."""
    moment = clock.at(day)
    return {
        "request_data": json.dumps(
            {
                "HTTP_REFERER": raw,
                "HTTP_USER_AGENT": "Mozilla/5.0",
                "REMOTE_ADDR": installation.source_ip,
            }
        ),
        "created_at": moment,
        "updated_at": moment,
        "gitlab_version": installation.version(release),
        "referer_url": raw,
        "host_id": installation.number,
    }


def release_at(installation: Installation, share: float) -> int:
    """The release running when that share of the time between first and last ping has passed."""
    steps = installation.last_release - installation.first_release
    return installation.first_release + round(steps * share)


def initial_pings(
    installation: Installation, clock: Clockwork, usage_count: int, check_count: int
) -> tuple[list[Record], list[Record]]:
    """The pings from the first to the last; the last one of each kind is the newest known."""
    rng = dice(f"{installation.uuid}:initial")
    span = installation.last_ping - installation.first_ping
    usage: list[Record] = []
    checks: list[Record] = []
    if installation.usage_raw:
        for i in range(usage_count):
            share = 1.0 if i == usage_count - 1 else i / usage_count
            day = installation.first_ping + span * share
            release = release_at(installation, share)
            users = max(1, round(installation.users * (0.7 + 0.3 * share)))
            usage.append(usage_ping(installation, clock, day, release, users))
    if installation.referers:
        for i in range(max(check_count, len(installation.referers))):
            share = rng.random()
            raw = installation.referers[i % len(installation.referers)].raw
            if i < len(installation.referers):
                share = 0.97 + 0.02 * i
            day = installation.first_ping + span * share
            checks.append(
                version_check(installation, clock, day, release_at(installation, share), raw)
            )
    return usage, checks
