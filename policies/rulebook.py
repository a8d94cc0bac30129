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
from typing import Any, TypeAlias

from kernel.errors import InvalidError
from policies.links import LinkChange, Links
from policies.matcher import ANY, Matcher, Reaches, Row

ALLOW = "allow"
DENY = "deny"

Key = tuple[str, ...]
Branch: TypeAlias = "dict[str, Branch] | dict[str, tuple[Row, ...]]"
"""Rows that agree in all fields pinned by plain equality, by one field after the other that a link or `*` pins."""


@dataclass(frozen=True, slots=True)
class RuleBook:
    """Rows and links under one model; start from `empty_book`.

    Attributes:
        matcher: The compiled model.
        links: For each name of a link (`g`, `g2`, ...) its links.
    """

    matcher: Matcher
    links: Mapping[str, Links]
    _rows: Mapping[Key, Branch] = field(default_factory=dict)

    def reach(self, request: Row) -> Reaches:
        """What each link of the matcher reaches for this request; the same for every layer of a question."""
        links = self.links
        return tuple(
            [
                links[name].reach(request[child], "" if domain is None else request[domain])
                for name, child, _, domain in self.matcher.links
            ]
        )

    def enforce(self, request: Row, reach: Reaches | None = None) -> Row | None:
        """The row that decides: a deny row, else an allow row, else `None` (which is a denial).

        Args:
            request: One value for each request field of the model, in its order.
            reach: `self.reach` of a request that agrees with this one in all linked fields, if it is at hand.
        """
        first: Row | None = None
        effect = self.matcher.effect
        for row in self.matching(request, reach):
            if row[effect] == DENY:
                return row
            if first is None and row[effect] == ALLOW:
                first = row
        return first

    def matching(self, request: Row, reach: Reaches | None = None) -> list[Row]:
        """All rows that apply to the request, in their fixed order."""
        matcher = self.matcher
        if len(request) != len(matcher.request_fields):
            raise InvalidError("the request does not have the model's fields")
        top = self._rows.get(tuple([request[pin.request] for pin in matcher.equal]))
        if top is None:
            return []
        if reach is None:
            reach = self.reach(request)
        level: list[Any] = [top]
        for pin in matcher.spread:
            values = (request[pin.request],) if pin.link is None else reach[pin.link]
            candidates = (*values, ANY) if pin.wildcard else values
            level = [found for branch in level for value in candidates if (found := branch.get(value)) is not None]
        match = matcher.match
        return [row for rows in level for row in rows if match(request, row, reach)]

    def with_rows(self, changes: Iterable[tuple[bool, Row]]) -> RuleBook:
        """A copy with rows added (`True`) and removed (`False`), in order; branches without a change are shared."""
        rows, fresh = dict(self._rows), set[int]()
        equal, spread = ([pin.row for pin in pins] for pins in (self.matcher.equal, self.matcher.spread))
        for added, row in changes:
            branch: Any = rows
            for key in (tuple(row[position] for position in equal), *(row[position] for position in spread[:-1])):
                below = branch.get(key, {})
                if id(below) not in fresh:
                    below = branch[key] = below.copy()
                    fresh.add(id(below))
                branch = below
            last = row[spread[-1]]
            kept = tuple(known for known in branch.get(last, ()) if known != row)
            branch[last] = (*kept, row) if added else kept
            if not branch[last]:
                del branch[last]
        return RuleBook(self.matcher, self.links, rows)

    def with_links(self, changes: Mapping[str, Iterable[LinkChange]]) -> RuleBook:
        """A copy with links added and removed, for each link name."""
        links = dict(self.links) | {name: self.links[name].changed(changed) for name, changed in changes.items()}
        return RuleBook(self.matcher, links, self._rows)

    def rows(self) -> list[Row]:
        """Every row; for tests and for people who want to see the policy as Casbin rows."""
        level: list[Any] = list(self._rows.values())
        for _ in self.matcher.spread:
            level = [below for branch in level for below in branch.values()]
        return [row for rows in level for row in rows]


def empty_book(matcher: Matcher) -> RuleBook:
    """A rule book without rows and links."""
    return RuleBook(matcher, {link.name: Links() for link in matcher.links})
