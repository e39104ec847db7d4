"""What invented companies and people are called.

Names are made up of syllables so that they belong to nobody; every organisation gets a name of
its own, which makes the matches of names known truths.
"""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass

_FIRST = [
    "Al",
    "Bra",
    "Cor",
    "Del",
    "Er",
    "Fal",
    "Gan",
    "Hel",
    "Is",
    "Jo",
    "Kal",
    "Lum",
    "Mar",
    "Nor",
    "Or",
    "Pra",
    "Qua",
    "Ren",
    "Sol",
    "Tar",
    "Ul",
    "Ven",
    "Wal",
    "Zen",
]
_MIDDLE = [
    "a",
    "bi",
    "co",
    "da",
    "fe",
    "go",
    "ha",
    "ki",
    "lo",
    "mi",
    "nu",
    "pa",
    "qui",
    "ra",
    "sa",
    "ti",
    "u",
    "va",
    "we",
    "xi",
    "yo",
    "za",
    "ne",
    "li",
]
_LAST = [
    "tron",
    "dex",
    "lia",
    "nor",
    "via",
    "max",
    "ris",
    "ton",
    "cor",
    "nix",
    "dan",
    "gard",
    "mond",
    "lux",
    "vex",
    "fort",
]
_TRADES = [
    "Logistics",
    "Systems",
    "Software",
    "Energy",
    "Medical",
    "Foods",
    "Mobility",
    "Analytics",
    "Robotics",
    "Textiles",
    "Chemicals",
    "Telecom",
    "Insurance",
    "Media",
    "Labs",
    "Networks",
    "Motors",
    "Retail",
    "Aviation",
    "Biotech",
    "Finance",
    "Marine",
    "Optics",
    "Paper",
    "Steel",
    "Toys",
    "Travel",
    "Water",
    "Security",
    "Gaming",
]

#: Country → (legal form, suffixes of its web names, dialling code, cities).
COUNTRIES: dict[str, tuple[str, tuple[str, ...], str, tuple[str, ...]]] = {
    "United States": (
        "Inc.",
        ("com", "com", "io", "org", "net"),
        "+1 415 555",
        ("Austin", "Denver"),
    ),
    "United Kingdom": ("Ltd", ("co.uk", "com"), "+44 20 7946", ("Leeds", "Bristol")),
    "Germany": ("GmbH", ("de", "com"), "+49 30 2312", ("Hamburg", "Jena")),
    "Australia": ("Pty Ltd", ("com.au",), "+61 2 5550", ("Perth", "Hobart")),
    "France": ("SAS", ("fr", "com"), "+33 1 7018", ("Lyon", "Lille")),
    "Netherlands": ("B.V.", ("nl",), "+31 20 794", ("Utrecht", "Delft")),
    "Japan": ("K.K.", ("co.jp",), "+81 3 5550", ("Osaka", "Kobe")),
    "Brazil": ("Ltda", ("com.br",), "+55 11 5550", ("Recife", "Santos")),
}
COUNTRY_CODES = {
    "United States": "US",
    "United Kingdom": "GB",
    "Germany": "DE",
    "Australia": "AU",
    "France": "FR",
    "Netherlands": "NL",
    "Japan": "JP",
    "Brazil": "BR",
}
_COUNTRY_WEIGHTS = (45, 12, 16, 6, 8, 5, 4, 4)

#: The standard picklist of Account.Industry, as far as it is used here.
INDUSTRIES = (
    "Banking",
    "Biotechnology",
    "Chemicals",
    "Construction",
    "Consulting",
    "Education",
    "Electronics",
    "Energy",
    "Engineering",
    "Finance",
    "Government",
    "Healthcare",
    "Insurance",
    "Machinery",
    "Manufacturing",
    "Media",
    "Retail",
    "Technology",
    "Telecommunications",
    "Transportation",
)

GIVEN_NAMES = [
    "Ada",
    "Ben",
    "Chiara",
    "Daniel",
    "Elif",
    "Farid",
    "Grace",
    "Hana",
    "Igor",
    "Jana",
    "Kofi",
    "Lena",
    "Mateo",
    "Nadia",
    "Oscar",
    "Priya",
    "Quentin",
    "Rosa",
    "Sven",
    "Tala",
    "Umar",
    "Vera",
    "Wanda",
    "Xenia",
    "Yusuf",
    "Zoë",
    "José",
    "Søren",
    "Łucja",
    "Noël",
]
FAMILY_NAMES = [
    "Abbott",
    "Berg",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Garcia",
    "Haddad",
    "Ivanov",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Müller",
    "Nakamura",
    "O'Brien",
    "Petrov",
    "Quist",
    "Rossi",
    "Silva",
    "Tanaka",
    "Ueda",
    "Varga",
    "Weber",
    "Xu",
    "Yilmaz",
    "Zhang",
    "D'Angelo",
    "Nguyễn",
    "Sørensen",
    "Çelik",
]
JOB_TITLES = (
    "CTO",
    "VP Engineering",
    "Head of IT",
    "DevOps Engineer",
    "Engineering Manager",
    "IT Purchasing",
    "Software Architect",
    "Release Manager",
    "Developer",
    "Security Officer",
)
DEPARTMENTS = (
    "Sales",
    "Marketing",
    "Sales Development",
    "Business Development",
    "Customer Success",
)


@dataclass(frozen=True, slots=True)
class Organisation:
    """One firm of the simulated world, whether or not the company knows it."""

    number: int
    name: str
    legal_name: str
    domain: str
    country: str
    city: str
    industry: str
    employees: int
    revenue: int
    phone: str
    description: str
    founded: int


def dice(topic: str) -> random.Random:
    """Chance that always falls the same way for one topic."""
    return random.Random(topic)  # noqa: S311


class OrganisationMaker:
    """Makes organisations by number: same seed and number, same organisation; no name twice."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._words = len(_FIRST) * len(_MIDDLE) * len(_LAST)
        shuffler = dice(f"{seed}:organisations")
        self._order = list(range(self._words))
        shuffler.shuffle(self._order)

    def make(self, number: int) -> Organisation:
        """The organisation of that number."""
        rng = dice(f"{self._seed}:organisation:{number}")
        cycle, place = divmod(number, self._words)
        code = self._order[place]
        first, rest = divmod(code, len(_MIDDLE) * len(_LAST))
        middle, last = divmod(rest, len(_LAST))
        word = _FIRST[first] + _MIDDLE[middle] + _LAST[last]
        # The first cycle may go without a trade; later ones take one each, so names stay unique.
        trade = _TRADES[(code + cycle) % len(_TRADES)] if cycle or rng.random() < 0.6 else ""
        name = f"{word} {trade}".strip()
        country = rng.choices(list(COUNTRIES), weights=_COUNTRY_WEIGHTS)[0]
        form, suffixes, dial, cities = COUNTRIES[country]
        slug = name.lower().replace(" ", rng.choice(["", "-"]) if trade else "")
        employees = int(min(250_000, max(3, rng.lognormvariate(5.2, 1.7))))
        return Organisation(
            number=number,
            name=name,
            legal_name=f"{name}, {form}" if form == "Inc." else f"{name} {form}",
            domain=f"{slug}.{rng.choice(suffixes)}",
            country=country,
            city=rng.choice(cities),
            industry=rng.choice(INDUSTRIES),
            employees=employees,
            revenue=employees * rng.randrange(60_000, 320_000, 1_000),
            phone=f"{dial} {rng.randrange(10_000):04d}",
            description=f"{name} is a {trade.lower() or 'technology'} firm from {rng.choice(cities)}.",
            founded=rng.randrange(1890, 2016),
        )


def person(rng: random.Random) -> tuple[str, str]:
    """A given and a family name."""
    return rng.choice(GIVEN_NAMES), rng.choice(FAMILY_NAMES)


def mailbox(given: str, family: str) -> str:
    """The part of a mail address before the @, in ASCII."""
    letters = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "ß": "s"})
    plain = unicodedata.normalize("NFKD", f"{given}.{family}".translate(letters)).lower()
    return "".join(c for c in plain if c.isascii() and (c.isalnum() or c == "."))
