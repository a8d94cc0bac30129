"""Purposes: why data are used, from a small graph that a tenant defines.

Rules
-----
1. A purpose lies within itself and within every purpose above it. `research/oncology` within `research`: who may use
   data for research may use them for oncology, never the other way round.
2. The graph has no cycle, at most `MOST_PURPOSES` purposes and `DEEPEST` steps. A name says nothing about where a
   purpose stands; only a defined link does.
3. A purpose may gain further parents; it never loses one, so that what was within stays within.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kernel.errors import ConflictError, InvalidError
from kernel.ids import Slug

MOST_PURPOSES = 256
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class PurposeDag:
    """A tenant's purposes. Immutable; start from `PurposeDag()`.

    Attributes:
        parents: Each purpose with the purposes directly above it.
        above: Each purpose with all above it, itself included.
    """

    parents: Mapping[Slug, frozenset[Slug]] = field(default_factory=dict)
    above: Mapping[Slug, frozenset[Slug]] = field(default_factory=dict)

    def add(self, purpose: Slug, within: Iterable[Slug] = ()) -> PurposeDag:
        """A copy in which `purpose` exists and lies within the given purposes.

        Raises:
            InvalidError: A parent is unknown, or the graph would be too large or too deep.
            ConflictError: A cycle, or nothing new.
        """
        named = frozenset(within)
        known = self.parents.get(purpose)
        if not named <= self.parents.keys():
            raise InvalidError("define the wider purpose first", field="within")
        if known is not None and named <= known:
            raise ConflictError("this purpose is defined already", field="purpose")
        if any(purpose in self.above[wider] for wider in named):
            raise ConflictError("a purpose cannot lie within itself: this would close a cycle", field="within")
        if known is None and len(self.parents) >= MOST_PURPOSES:
            raise InvalidError(f"a tenant has at most {MOST_PURPOSES} purposes", field="purpose")
        parents = {**self.parents, purpose: (known or frozenset()) | named}
        return PurposeDag(parents, _above(parents))

    def is_within(self, purpose: Slug, wider: Slug) -> bool:
        """Whether `purpose` is `wider` or lies below it; unknown purposes lie nowhere."""
        return wider in self.above.get(purpose, ())

    def is_within_any(self, purpose: Slug, wider: Iterable[Slug]) -> bool:
        """Whether `purpose` lies within at least one of the given purposes."""
        return not self.above.get(purpose, frozenset()).isdisjoint(wider)

    def __contains__(self, purpose: Slug) -> bool:
        return purpose in self.parents


def _above(parents: Mapping[Slug, frozenset[Slug]]) -> dict[Slug, frozenset[Slug]]:
    above: dict[Slug, frozenset[Slug]] = {}
    todo, steps = dict(parents), 0
    while todo:
        ready = [purpose for purpose, wider in todo.items() if wider <= above.keys()]
        steps += 1
        if steps > DEEPEST:
            raise InvalidError(f"purposes nest at most {DEEPEST} deep", field="within")
        # Collected first: a purpose of this step must not count as ready for another one of it.
        found = {p: frozenset({p}).union(*(above[wider] for wider in todo.pop(p))) for p in ready}
        above.update(found)
    return above
