"""Collections: what a gateway lists, read page by page as somebody goes through it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

from privgate.client.http import Connection
from privgate.sdk import html
from privgate.sdk.session import identifier
from privgate.sdk.view import View

V = TypeVar("V", bound=View)
MOST_SHOWN = 20


class Collection(Generic[V]):
    """A listing that is read when it is iterated, anew each time.

    Args:
        connection: Where to ask.
        path: The listing's path; one object is at `path/id`.
        make: Makes a view from a JSON object.
        kind: The views' class, for what stands in a table.
        query: Restricts the listing.
    """

    def __init__(
        self, connection: Connection, path: str, make: Callable[[Any], V], kind: type[V], **query: str | None
    ) -> None:
        self._connection = connection
        self._path = path
        self._make = make
        self._kind = kind
        self._query = query

    def __iter__(self) -> Iterator[V]:
        for page in self._connection.pages(self._path, **self._query):
            yield from map(self._make, page)

    def __getitem__(self, thing: str) -> V:
        """Return one object by its id; raise `NotFoundError` if there is none that you may know of."""
        return self._make(self._connection.get(f"{self._path}/{identifier(thing, self._kind.NOUN)}"))

    def __repr__(self) -> str:
        return f"<{self._kind.NOUN}s of the gateway: iterate, or take one by its id>"

    def _repr_html_(self) -> str:
        first = list(islice(self, MOST_SHOWN + 1))
        more = " (the first ones)" if len(first) > MOST_SHOWN else ""
        header = [name.replace("_", " ") for name in self._kind.COLUMNS]
        return html.table(f"{self._kind.NOUN}s{more}", header, [view.cells() for view in first[:MOST_SHOWN]])
