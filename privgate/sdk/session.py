"""What all verbs share: one connection, and what is pinned."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

from kernel.checks import matching
from kernel.errors import InvalidError
from privgate.client.http import Connection
from privgate.sdk.errors import NotPinnedError
from privgate.sdk.view import View

if TYPE_CHECKING:
    from audit.trust import TrustFile
    from privgate.sdk.gateway import Gateway

_BODY: Final = "[a-z2-7]{26}"
_PREFIXES: Final = {
    "credential": "tok",
    "dataset": "dst",
    "grant": "grt",
    "job": "job",
    "population": "pop",
    "principal": "prn",
    "release": "rel",
    "report": "rpt",
    "version": "ver",
}


class Session:
    """A gateway as one principal.

    Args:
        connection: The way to it; closed with the session.
        trust: The pinned trust file, if any.
    """

    def __init__(self, connection: Connection, trust: TrustFile | None = None) -> None:
        self.connection = connection
        self._trust = trust

    def close(self) -> None:
        """Let the connection go."""
        self.connection.close()

    @property
    def pinned(self) -> TrustFile:
        """The pinned trust file; raise `NotPinnedError` if there is none."""
        if self._trust is None:
            raise NotPinnedError
        return self._trust

    @property
    def _whole(self) -> Gateway:
        """Itself: verbs stand in classes by role, and every session has all of them."""
        return cast("Gateway", self)


def identifier(thing: View | str, member: str) -> str:
    """The id of a view, or the id itself; raise `InvalidError` for a text that can be no id.

    An id becomes a part of an address, so nothing that means something there is let through.
    """
    written = thing if isinstance(thing, str) else str(getattr(thing, member))
    prefix = _PREFIXES.get(member)
    if prefix is None:
        raise InvalidError(f"a {member} has no id and is not taken by one: iterate over all of them", field=member)
    told = f"must be an id: `{prefix}_` and 26 characters of a-z and 2-7"
    return matching(re.compile(f"{prefix}_{_BODY}"), told, **{member: written})


def given(**members: Any) -> dict[str, Any]:
    """The members that were given."""
    return {name: value for name, value in members.items() if value is not None}
