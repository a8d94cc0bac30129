"""HTML for notebooks: small tables, everything escaped.

Rules
-----
1. Every text is escaped, whoever wrote it: titles and descriptions come from other people.
2. No script, no style sheet, no address: a cell of a notebook must not load anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def card(title: str, rows: Iterable[tuple[str, object]]) -> str:
    """One object: a caption and its members."""
    lines = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>'
        for name, value in rows
    )
    return f'<table><caption style="text-align:left"><b>{_text(title)}</b></caption>{lines}</table>'


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Several objects, one a row."""
    head = "".join(f'<th style="text-align:left">{_text(name)}</th>' for name in header)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{_text(value)}</td>' for value in row) + "</tr>" for row in rows
    )
    return (
        f'<table><caption style="text-align:left"><b>{_text(title)}</b></caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _text(value: object) -> str:
    return escape(str(value), quote=True)
