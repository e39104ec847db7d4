"""Who is asked, and in which order: the registry of the providers.

A new provider is a line in ``DOMAIN_STEPS`` or ``ADDRESS_STEPS`` and one in ``VARIABLES``.
"""

from __future__ import annotations

from collections.abc import Mapping

from meltano_assets.environment import Variable
from meltano_assets.hosts import clearbit, discoverorg, dns, rdap, whois
from meltano_assets.hosts.providers import Step
from meltano_assets.streams import Stream

DOMAIN_STEPS: tuple[Step, ...] = (discoverorg.STEP, clearbit.STEP, whois.STEP)
ADDRESS_STEPS: tuple[Step, ...] = (dns.STEP, whois.STEP)

#: The tables of answers, each once.
CACHES: tuple[Stream, ...] = tuple(
    {step.stream.name: step.stream for step in (*DOMAIN_STEPS, *reversed(ADDRESS_STEPS))}.values()
)

#: The variables of each vendor by its key in settings; all of them are optional as a whole.
VARIABLES: Mapping[str, tuple[Variable, ...]] = {
    each.NAME: each.VARIABLES for each in (discoverorg, clearbit, rdap, whois, dns)
}
