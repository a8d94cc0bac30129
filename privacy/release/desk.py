"""The release desk: from held to released, refused or recalled.

Rules
-----
1. A release starts as held. Only the moves in `MOVES` exist; each is logged by its event.
2. Who may make a move is policy (`release:check`, `release:recall`); here is only which moves there are.
3. A recall does not undo a disclosure: it closes the download and says so in the log. What was charged stays charged.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from kernel.errors import ConflictError


class ReleaseState(StrEnum):
    """Where a release stands."""

    HELD = "held"
    RELEASED = "released"
    REFUSED = "refused"
    RECALLED = "recalled"


class DeskVerdict(StrEnum):
    """What a checker says about a held release."""

    RELEASE = "release"
    REFUSE = "refuse"


MOVES: Mapping[ReleaseState, frozenset[ReleaseState]] = {
    ReleaseState.HELD: frozenset({ReleaseState.RELEASED, ReleaseState.REFUSED}),
    ReleaseState.RELEASED: frozenset({ReleaseState.RECALLED}),
    ReleaseState.REFUSED: frozenset(),
    ReleaseState.RECALLED: frozenset(),
}

AFTER_VERDICT: Mapping[DeskVerdict, ReleaseState] = {
    DeskVerdict.RELEASE: ReleaseState.RELEASED,
    DeskVerdict.REFUSE: ReleaseState.REFUSED,
}


def move(before: ReleaseState, after: ReleaseState) -> ReleaseState:
    """Return `after` if the desk may move there from `before`.

    Raises:
        ConflictError: There is no such move.
    """
    if after not in MOVES[before]:
        raise ConflictError(f"a release that is {before} cannot become {after}")
    return after
