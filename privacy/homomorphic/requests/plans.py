"""What every plan of a job on data of sites answers, and what the sites have declared that it depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from privacy.accounting.mechanisms import MechanismUse
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, SiteNoise
from privacy.homomorphic.profiles import Profile
from privacy.schema import TableSchema


class CollectionPlan(Protocol):
    """What sites and key holder compute by."""

    @property
    def noise(self) -> SiteNoise | None:
        """What the sites add; nothing for an exact result."""
        ...

    @property
    def rounds(self) -> int:
        """The most results that may be decrypted."""
        ...

    def additions(self, number: int) -> Sequence[Addition]:
        """Which noise the numbers of a round get, in their order; nothing for an exact result."""
        ...

    def layout(self, profile: Profile, sites: int) -> Layout:
        """Where a site's numbers lie; raise `InvalidError` if the profile cannot add so many sites' sums."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Encode as the order's `plan`."""
        ...

    def uses(self) -> tuple[MechanismUse, ...]:
        """What is priced, for each population alike; nothing for an exact result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sites:
    """What the sites of a job have declared, as far as a plan depends on it.

    Attributes:
        schema: The columns that the job reads, the same at every site.
        rows_per_unit: The most rows of one person, at any site.
        least_persons: Fewer persons no site and no cell may have.
        count: How many sites there are.
        noise: What they add; nothing for an exact result.
    """

    schema: TableSchema
    rows_per_unit: int
    least_persons: int
    count: int
    noise: SiteNoise | None = None
