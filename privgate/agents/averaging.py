"""Federated averaging as agents see it: rounds of one model's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kernel import canonical
from kernel.checks import whole
from privacy.homomorphic.averaging.course import advance, ask_json, asked_weights, first_weights, weights_bytes
from privacy.homomorphic.averaging.plan import MOST_ROUNDS, Bounded, FederatedAverage
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, SiteNoise
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_by_round
from privacy.jobs.strict import members_of
from privgate.agents.course import MEMORY_LIMIT, Ended, Going, require_noise
from privgate.agents.orders import profile_for
from privgate.agents.refusing import RefusalError, Why


class AverageCourse:
    """Federated averaging of any model graph, exact or with noise of the sites."""

    def __init__(self, order: Order) -> None:
        self._plan = FederatedAverage.from_json(order.plan)
        self._layout = self._plan.layout(profile_for(order), len(order.sites))
        require_noise(order, self._plan.noise)
        if self._plan.rounds != order.rounds_at_most:
            raise RefusalError(Why.RULES, "averaging makes exactly its plan's rounds")
        if self._plan.weights != tuple(site.weight for site in order.sites):
            raise RefusalError(Why.RULES, "the plan weighs sites as the order does")
        if order.dropouts and self._plan.bounded is Bounded.UPDATE and len(set(self._plan.weights)) > 1:
            raise RefusalError(Why.RULES, "where sites weigh differently none may be missing")

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
        """One each round."""
        return () if self._plan.noise is None else gaussians_by_round(CollectionKind.HE_AGGREGATE, self._plan.rounds)

    def first(self) -> bytes:
        """The weights before the first round, drawn here."""
        return self._kept(1, first_weights(self._plan))

    def asked(self, memory: bytes) -> Mapping[str, Any]:
        """The weights so far."""
        return ask_json(self._read(memory)[1])

    def advance(self, memory: bytes, sums: Sequence[int], sites: int) -> Going | Ended:
        """One step."""
        number, weights = self._read(memory)
        following = advance(self._plan, weights, sums, range(sites))
        if number < self._plan.rounds:
            return Going(self._kept(number + 1, following))
        return Ended(weights_bytes(self._plan, following))

    def _kept(self, number: int, weights: Sequence[float]) -> bytes:
        return canonical.encode({"round": number, "state": ask_json(weights)})

    def _read(self, memory: bytes) -> tuple[int, Sequence[float]]:
        members = members_of(canonical.decode(memory, limit=MEMORY_LIMIT), "memory", ("round", "state"))
        return whole(1, MOST_ROUNDS, round=members["round"]), asked_weights(self._plan, members["state"])
