"""Kinds of job as agents see them: how long uploads are, what a round asks, and what follows from what was decrypted.

Rules
-----
1. A course is pure: from the order and its own memory. Memory is the key holder's alone; what sites need is in `asked`.
2. Only kinds in the table exist; an order of another kind is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kernel import canonical
from kernel.errors import PrivgateError
from kernel.ids import Slug
from privacy.homomorphic.documents.order import Order, Outcome
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.glm.report import glm_bytes
from privacy.homomorphic.glm.steps import State, advance, ask_json
from privacy.homomorphic.layout import Layout
from privgate.agents.orders import profile_for
from privgate.agents.refusing import RefusalError, Why

_MEMORY_LIMIT = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Going:
    """There is another round: what the key holder has to remember for it."""

    memory: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The last round was decrypted: what came of it."""

    artefact: bytes


class Course(Protocol):
    """One kind of job, for one order."""

    @property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
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


class GlmCourse:
    """Federated generalised linear models without noise."""

    def __init__(self, order: Order) -> None:
        self._plan = ExactGlm.from_json(order.plan)
        self._layout = self._plan.layout(profile_for(order), len(order.sites))
        if order.outcome is not Outcome.EXACT or self._plan.most_rounds != order.rounds_at_most or order.dropouts:
            raise RefusalError(Why.RULES, "an exact model has its plan's rounds, and no site may be missing")

    @property
    def layout(self) -> Layout:
        """Where a site's numbers lie."""
        return self._layout

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


def course_of(order: Order) -> Course:
    """The course of an order.

    Raises:
        RefusalError: Its kind is not known here, or its plan does not fit it.
    """
    made = _COURSES.get(order.kind)
    if made is None:
        raise RefusalError(Why.RULES, "`kind`")
    try:
        return made(order)
    except RefusalError:
        raise
    except PrivgateError as error:
        raise RefusalError(Why.RULES, f"`plan`: {error.message}") from None


def _state(memory: bytes) -> State:
    return State.from_json(canonical.decode(memory, limit=_MEMORY_LIMIT))


_COURSES: Mapping[Slug, Callable[[Order], Course]] = {Slug("he.glm"): GlmCourse}
