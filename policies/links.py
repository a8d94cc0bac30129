"""Links between names: who belongs to what, along any number of steps.

One class serves every `g` of the Casbin model: roles of principals, classes of objects, wider purposes, higher
sensitivities.

Rules
-----
1. A name reaches itself, then what it is linked to, nearest first and in alphabetical order within a step: the order is
   part of the answer, so it never depends on hashing.
2. A domain keeps its links apart from every other domain's.
3. Asking about an unknown name stores nothing. (Casbin's own role manager keeps each name it was ever asked about.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

Node = tuple[str, str]
"""A domain and a name."""

Parents = dict[Node, frozenset[str]]


class LinkChange(NamedTuple):
    """One link to add or to remove."""

    added: bool
    child: str
    parent: str
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    """An immutable set of links with its reachability worked out beforehand; start from `Links()`.

    Attributes:
        parents: What each name is linked to directly.
        reached: What each linked name reaches, itself first.
    """

    parents: Mapping[Node, frozenset[str]] = field(default_factory=dict)
    reached: Mapping[Node, tuple[str, ...]] = field(default_factory=dict)

    def reach(self, name: str, domain: str = "") -> tuple[str, ...]:
        """All names that `name` belongs to in `domain`, itself first."""
        return self.reached.get((domain, name)) or (name,)

    def changed(self, changes: Iterable[LinkChange]) -> Links:
        """A copy with links added and removed, in order."""
        parents, reached, touched = dict(self.parents), dict(self.reached), set[Node]()
        for added, child, parent, domain in changes:
            node = (domain, child)
            known = parents.get(node, frozenset())
            parents[node] = known | {parent} if added else known - {parent}
            touched.add(node)
        for node in _below(touched, parents):
            if parents.get(node):
                reached[node] = _walk(node, parents)
            else:
                parents.pop(node, None)
                reached.pop(node, None)
        return Links(parents, reached)

    def all(self) -> list[tuple[str, str, str]]:
        """Every link as `(child, parent, domain)`, sorted."""
        links = [(child, parent, domain) for (domain, child), parents in self.parents.items() for parent in parents]
        return sorted(links)


def _below(touched: set[Node], parents: Parents) -> set[Node]:
    """The touched nodes and all whose reach runs through one of them."""
    names = {name for _, name in touched}
    # A principal is nobody's parent: the usual change touches such a leaf and needs no walk over the others.
    if all(names.isdisjoint(found) for found in parents.values()):
        return touched
    children: dict[Node, set[Node]] = {}
    for (domain, child), found in parents.items():
        for parent in found:
            children.setdefault((domain, parent), set()).add((domain, child))
    below, todo = set(touched), list(touched)
    while todo:
        fresh = children.get(todo.pop(), set()) - below
        below |= fresh
        todo.extend(fresh)
    return below


def _walk(node: Node, parents: Parents) -> tuple[str, ...]:
    domain, name = node
    found, step = [name], [name]
    while step:
        wider = {parent for child in step for parent in parents.get((domain, child), ())}
        step = sorted(wider.difference(found))
        found.extend(step)
    return tuple(found)
