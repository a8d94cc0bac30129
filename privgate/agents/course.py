"""What a course is: one kind of job as agents see it, and what follows from a decryption.

Rules
-----
1. A course is pure: from the order and its own memory. Memory is the key holder's alone; what sites need is in `asked`.
2. Noise is what the order promises, from exactly its sites: nobody takes the gateway's word for it.
3. Sites that are missing and sites that share what they know are tolerated together: where some may be missing, one
   more is tolerated at least, so that with all of them away a single curious site still sees the priced noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kernel.errors import InvalidError
from privacy.homomorphic.documents.order import Aggregation, Order, Outcome
from privacy.homomorphic.flooding import require_hidden
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, NoiseBy, SiteNoise
from privacy.jobs.strict import one_of
from privgate.agents.refusing import RefusalError, Why

MEMORY_LIMIT = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Going:
    """There is another round: what the key holder has to remember for it."""

    memory: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The last round was decrypted: what came of it."""

    artefact: bytes


def noise_by_of(order: Order) -> NoiseBy:
    """Who adds noise, as the request says it."""
    by: NoiseBy = one_of(NoiseBy, order.spec.get("noise_by", NoiseBy.SITES.value), "noise_by")
    return by


class Course(Protocol):
    """One kind of job, for one order."""

    @property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
        ...

    @property
    def noise(self) -> SiteNoise | None:
        """What the sites add before they encrypt; nothing for an exact result."""
        ...

    def additions(self, number: int) -> Sequence[Addition]:
        """Which noise the numbers of a round get."""
        ...

    @property
    def gaussians(self) -> Sequence[int]:
        """How many Gaussians of the noise each round costs, at most, beside the rounds before; nothing if exact."""
        ...

    def first(self) -> bytes:
        """What the key holder remembers before round 1."""
        ...

    def asked(self, memory: bytes) -> Mapping[str, Any]:
        """What a round asks the sites."""
        ...

    def advance(self, memory: bytes, sums: Sequence[int], sites: int) -> Going | Ended:
        """What follows from the sums of so many sites; raise `CorruptError` if they cannot be such sums."""
        ...


def require_hiding(order: Order, course: Course) -> None:
    """Return if sums that the gateway makes tell nothing but themselves; raise `RefusalError` otherwise."""
    if order.aggregation is not Aggregation.GATEWAY:
        return
    try:
        require_hidden(course.layout, order.rounds_at_most, course.noise)
    except InvalidError as error:
        raise RefusalError(Why.PROFILE, error.message) from None


def require_noise(order: Order, noise: SiteNoise | None) -> None:
    """Return if a plan's noise is what its order promises, from exactly its sites; raise `RefusalError` otherwise."""
    if (noise is not None) != (order.outcome is Outcome.NOISED):
        raise RefusalError(Why.RULES, "`outcome` does not fit the plan's noise")
    if noise is None and order.dropouts:
        raise RefusalError(Why.RULES, "of an exact result no site may be missing")
    if noise is not None and noise.sites != len(order.sites):
        raise RefusalError(Why.RULES, "the plan's noise is not that of the order's sites")
    if noise is not None and (noise.aggregation, noise.by) != (order.aggregation, noise_by_of(order)):
        raise RefusalError(Why.RULES, "the plan's noise is added by others than the request says")
    by_sites = noise is not None and noise.by is NoiseBy.SITES
    if noise is not None and by_sites and order.dropouts and noise.tolerated <= order.dropouts:
        raise RefusalError(Why.RULES, "`tolerated` counts sites that are missing and one that shares what it knows")
