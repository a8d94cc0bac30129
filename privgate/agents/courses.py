"""Kinds of job as agents see them: how long uploads are, what a round asks, and what follows from what was decrypted.

Rules
-----
1. Only kinds in the table exist; an order of another kind is refused.
2. An order whose plan does not fit it is refused before there is a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kernel import canonical
from kernel.errors import PrivgateError
from kernel.ids import Slug
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.report import glm_bytes
from privacy.homomorphic.glm.steps import State, advance, ask_json
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import Addition, SiteNoise
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_by_round
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import statistics_bytes
from privgate.agents.averaging import AverageCourse
from privgate.agents.course import MEMORY_LIMIT, Course, Ended, Going, require_noise
from privgate.agents.noised_glm import NoisedGlmCourse
from privgate.agents.orders import profile_for
from privgate.agents.refusing import RefusalError, Why


class GlmCourse:
    """Federated generalised linear models without noise."""

    def __init__(self, order: Order) -> None:
        self._plan = ExactGlm.from_json(order.plan)
        self._layout = self._plan.layout(profile_for(order), len(order.sites))
        require_noise(order, None)
        if self._plan.most_rounds != order.rounds_at_most:
            raise RefusalError(Why.RULES, "an exact model has its plan's rounds")

    @property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
        return self._layout

    @property
    def noise(self) -> SiteNoise | None:
        """None."""
        return None

    def additions(self, number: int) -> Sequence[Addition]:
        """As the plan has it."""
        return self._plan.additions(number)

    @property
    def gaussians(self) -> Sequence[int]:
        """None."""
        return ()

    def first(self) -> bytes:
        """Before the first round."""
        return canonical.encode(State.first().to_json())

    def asked(self, memory: bytes) -> Mapping[str, Any]:
        """At which point the sites sum."""
        return ask_json(_state(memory))

    def advance(self, memory: bytes, sums: Sequence[int], sites: int) -> Going | Ended:
        """One Newton step."""
        following = advance(self._plan, _state(memory), sums, sites)
        if isinstance(following, State):
            return Going(canonical.encode(following.to_json()))
        return Ended(glm_bytes(self._plan, following, sites))


class StatisticsCourse:
    """Federated statistics, exact or with noise of the sites: one round that asks nothing but the plan."""

    def __init__(self, order: Order) -> None:
        self._plan = FederatedStatistics.from_json(order.plan)
        self._layout = self._plan.layout(profile_for(order), len(order.sites))
        require_noise(order, self._plan.noise)
        if order.rounds_at_most != 1:
            raise RefusalError(Why.RULES, "statistics have one round")

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
        """One, in the one round."""
        return () if self._plan.noise is None else gaussians_by_round(CollectionKind.HE_STATISTICS, self._plan.rounds)

    def first(self) -> bytes:
        """Nothing is remembered."""
        return canonical.encode({})

    def asked(self, memory: bytes) -> Mapping[str, Any]:
        """Nothing."""
        return dict(canonical.decode(memory, limit=MEMORY_LIMIT))

    def advance(self, memory: bytes, sums: Sequence[int], sites: int) -> Going | Ended:
        """The answers."""
        self.asked(memory)
        return Ended(statistics_bytes(self._plan, sums, sites))


def course_of(order: Order) -> Course:
    """The course of an order.

    Raises:
        RefusalError: Its kind is not known here, or its plan does not fit it.
    """
    made = _NOISED.get(order.kind) if order.outcome is Outcome.NOISED else None
    made = made or _COURSES.get(order.kind)
    if made is None:
        raise RefusalError(Why.RULES, "`kind`")
    try:
        return made(order)
    except RefusalError:
        raise
    except PrivgateError as error:
        raise RefusalError(Why.RULES, f"`plan`: {error.message}") from None


def follows(course: Course, number: int, state: Mapping[str, Any]) -> bool:
    """Whether a round's state may be what that round asks; elsewhere each round is priced at whatever it asks."""
    try:
        return not isinstance(course, NoisedGlmCourse) or course.follows(number, state)
    except PrivgateError:
        return False


def _state(memory: bytes) -> State:
    return State.from_json(canonical.decode(memory, limit=MEMORY_LIMIT))


_COURSES: Mapping[Slug, Callable[[Order], Course]] = {
    Slug("he.aggregate"): AverageCourse,
    Slug("he.glm"): GlmCourse,
    Slug("he.statistics"): StatisticsCourse,
}
_NOISED: Mapping[Slug, Callable[[Order], Course]] = {Slug("he.glm"): NoisedGlmCourse}
"""Kinds whose course is another one where there is noise."""
