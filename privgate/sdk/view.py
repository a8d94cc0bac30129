"""The base of everything that the gateway answers: frozen, printable, and readable in a notebook.

Rules
-----
1. A view has the members it declares; a missing one is a sentence, an unknown one is passed over.
2. A view that has verbs holds its gateway; the gateway is no part of its value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Self, TypeVar

from kernel.errors import CorruptError
from privgate.sdk import html

V = TypeVar("V", bound="View")
LONGEST_CELL = 120


class View:
    """Base of all views; subclasses are frozen dataclasses."""

    __slots__ = ()
    NOUN: ClassVar[str] = "object"
    COLUMNS: ClassVar[tuple[str, ...]] = ()
    """Members that stand in a table of several; all of them stand on a card."""

    @classmethod
    def read(cls, body: Any, **bound: Any) -> Self:
        """Make a view from a JSON object of the gateway; raise `CorruptError` if a member is missing."""
        if not isinstance(body, Mapping):
            raise CorruptError(f"the gateway's answer is no {cls.NOUN}")
        wanted = [field for field in _members(cls) if field.name not in bound]
        missing = [f.name for f in wanted if f.name not in body and f.default is dataclasses.MISSING]
        if missing:
            raise CorruptError(f"the gateway's {cls.NOUN} lacks `{missing[0]}`: its version and this one do not match")
        return cls(**bound, **{f.name: _frozen(body[f.name]) for f in wanted if f.name in body})

    def lines(self) -> list[tuple[str, object]]:
        """The members to show, in order, in words."""
        return [(field.name.replace("_", " "), in_words(getattr(self, field.name))) for field in _shown_members(self)]

    def cells(self) -> list[object]:
        """The members that stand in a table."""
        return [_cut(in_words(getattr(self, name))) for name in self.COLUMNS]

    def to_json(self) -> dict[str, Any]:
        """The members as JSON, for machines."""
        return {field.name: _plain(getattr(self, field.name)) for field in _shown_members(self)}

    def _repr_html_(self) -> str:
        return html.card(self.NOUN, self.lines())


def in_words(value: object) -> str:
    """A member in words."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (tuple, list)):
        # Members of members are told apart from their neighbours.
        apart = "; " if any(isinstance(item, (Mapping, View)) for item in value) else ", "
        return apart.join(map(in_words, value)) or "-"
    if isinstance(value, View):
        return ", ".join(f"{name} {written}" for name, written in value.lines())
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {in_words(item)}" for name, item in value.items())
    return str(value)


def _cut(written: str) -> str:
    return written if len(written) <= LONGEST_CELL else written[: LONGEST_CELL - 1] + "…"


def _members(kind: type[Any]) -> list[dataclasses.Field[Any]]:
    return list(dataclasses.fields(kind))


def _shown_members(view: View) -> list[dataclasses.Field[Any]]:
    return [field for field in _members(type(view)) if field.repr]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, View):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
