"""Rows, links and one question: does a row allow this, and does none deny it?

Rules
-----
1. `enforce` gives the answer that stock Casbin gives for the same model, rows and links; a test holds it to that.
2. A rule book is immutable; a changed one shares what did not change. Asking stores nothing.
3. Which row answers is fixed: a deny before an allow, then the order of reach (nearest first), then the order in which
   rows were added. Hashing has no part in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Self

from kernel.errors import InvalidError
from policies.links import LinkChange, Links
from policies.matcher import ANY, Matcher, Pin, Reaches, Row, reaches

ALLOW = "allow"
DENY = "deny"

Key = tuple[str, ...]
Compartment = dict[Key, tuple[Row, ...]]
"""The rows that share the value of the first indexed field, by the other indexed fields."""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Rows and links under one model.

    Attributes:
        matcher: The compiled model.
        links: For each name of a link (`g`, `g2`, ...) its links.
    """

    matcher: Matcher
    links: Mapping[str, Links]
    _rows: Mapping[str, Compartment] = field(default_factory=dict)

    def enforce(self, request: Row) -> Row | None:
        """The row that decides: a deny row, else an allow row, else `None` (which is a denial).

        Args:
            request: One value for each request field of the model, in its order.
        """
        first: Row | None = None
        effect = self.matcher.effect
        for row in self.matching(request):
            if row[effect] == DENY:
                return row
            if first is None and row[effect] == ALLOW:
                first = row
        return first

    def matching(self, request: Row) -> list[Row]:
        """All rows that apply to the request, in their fixed order."""
        matcher = self.matcher
        if len(request) != len(matcher.request_fields):
            raise InvalidError("the request does not have the model's fields")
        reach = reaches(matcher, request, [self.links[link.name] for link in matcher.links])
        first, *others = (_candidates(pinned, request, reach) for pinned in matcher.indexed)
        compartments = [found for value in first if (found := self._rows.get(value)) is not None]
        match = matcher.match
        return [
            row
            for compartment in compartments
            for key in product(*others)
            for row in compartment.get(key, ())
            if match(request, row, reach)
        ]

    def with_rows(self, changes: Iterable[tuple[bool, Row]]) -> Self:
        """A copy with rows added (`True`) and removed (`False`), in order; other compartments are shared."""
        first, *others = (pinned.row for pinned in self.matcher.indexed)
        rows, copied = dict(self._rows), set[str]()
        for added, row in changes:
            if row[first] not in copied:
                copied.add(row[first])
                rows[row[first]] = rows.get(row[first], {}).copy()
            compartment, key = rows[row[first]], tuple(row[position] for position in others)
            kept = tuple(known for known in compartment.get(key, ()) if known != row)
            compartment[key] = (*kept, row) if added else kept
            if not compartment[key]:
                del compartment[key]
        return type(self)(self.matcher, self.links, rows)

    def with_links(self, changes: Mapping[str, Iterable[LinkChange]]) -> Self:
        """A copy with links added and removed, for each link name."""
        links = dict(self.links) | {name: self.links[name].changed(changed) for name, changed in changes.items()}
        return type(self)(self.matcher, links, self._rows)

    def rows(self) -> list[Row]:
        """Every row; for tests and for people who want to see the policy as Casbin rows."""
        return [row for compartment in self._rows.values() for rows in compartment.values() for row in rows]


def empty_book(matcher: Matcher) -> RuleBook:
    """A rule book without rows and links."""
    return RuleBook(matcher, {link.name: Links() for link in matcher.links})


def _candidates(pinned: Pin, request: Row, reach: Reaches) -> tuple[str, ...]:
    values = (request[pinned.request],) if pinned.link is None else reach[pinned.link]
    return (*values, ANY) if pinned.wildcard else values
