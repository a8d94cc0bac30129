"""A federated model with noise as agents see it: one round for each step, and noisy sums that everybody sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel import canonical
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.glm.noised import NoisedGlm, advance, asked_json, asked_sums, is_whole, noised_glm_bytes
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, SiteNoise
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_by_round
from privgate.agents.course import MEMORY_LIMIT, Ended, Going, require_noise
from privgate.agents.orders import profile_for
from privgate.agents.refusing import RefusalError, Why


class NoisedGlmCourse:
    """Federated generalised linear models with noise of the sites."""

    def __init__(self, order: Order) -> None:
        self._plan = NoisedGlm.from_json(order.plan)
        self._layout = self._plan.layout(profile_for(order), len(order.sites))
        require_noise(order, self._plan.noise)
        if self._plan.rounds != order.rounds_at_most or order.dropouts:
            raise RefusalError(Why.RULES, "a model with noise has its family's rounds, and no site may be missing")

    @property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
        return self._layout

    @property
    def noise(self) -> SiteNoise | None:
        """What the sites add."""
        return self._plan.noise

    def additions(self, number: int) -> Sequence[Addition]:
        """As the plan has it."""
        return self._plan.additions(number)

    @property
    def gaussians(self) -> Sequence[int]:
        """All rounds are one: the first has to pay for it."""
        return gaussians_by_round(CollectionKind.HE_GLM, self._plan.rounds)

    def follows(self, number: int, state: Mapping[str, Any]) -> bool:
        """Only the round's own step: one that is asked twice would cost twice."""
        return len(asked_sums(self._plan, state)) == sum(
            len(self._plan.measurements(step)) for step in range(number - 1)
        )

    def first(self) -> bytes:
        """No sums yet."""
        return canonical.encode(asked_json({}))

    def asked(self, memory: bytes) -> Mapping[str, Any]:
        """All noisy sums so far."""
        return asked_json(asked_sums(self._plan, canonical.decode(memory, limit=MEMORY_LIMIT)))

    def advance(self, memory: bytes, sums: Sequence[int], sites: int) -> Going | Ended:
        """One step more."""
        so_far = asked_sums(self._plan, canonical.decode(memory, limit=MEMORY_LIMIT))
        following = advance(self._plan, so_far, sums)
        if is_whole(self._plan, following):
            return Ended(noised_glm_bytes(self._plan, following, sites))
        return Going(canonical.encode(asked_json(following)))
