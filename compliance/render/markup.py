"""HTML from parts, where text is escaped unless it was made here.

Rules
-----
1. Every value goes through `tag`, which escapes text; only another `Markup` passes as it is.
2. No script, no style attribute, no address that a reader's program would fetch.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

_VOID = frozenset({"meta", "br", "hr", "col"})


class Markup(str):
    """HTML that was made by `tag`."""

    __slots__ = ()


def tag(name: str, /, *children: object, **attributes: str) -> Markup:
    """One element. An attribute is written as a keyword; `_` at its end is cut, others become `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[object]) -> Markup:
    """Parts one after the other; text is escaped, lists are flattened."""
    return Markup("".join(_part(child) for child in children))


def table(heads: Iterable[object], rows: Iterable[Iterable[object]], **attributes: str) -> Markup:
    """A table with a head that repeats on every printed page."""
    head = tag("thead", tag("tr", [_head(cell) for cell in heads]))
    body = tag("tbody", [tag("tr", [_cell(cell) for cell in row]) for row in rows])
    return tag("table", head, body, **attributes)


def _head(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<th") else tag("th", cell, scope="col")


def _cell(cell: object) -> Markup:
    return cell if isinstance(cell, Markup) and cell.startswith("<td") else tag("td", cell)


def _part(child: Any) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, (list, tuple)):
        return joined(child)
    return html.escape(str(child), quote=True)
