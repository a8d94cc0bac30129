"""Who learns what from a job on data of sites, apart from what anybody is told: for quotes and certificates alike.

Rules
-----
1. What is listed is what an honest run shows each of them. What several know together is the union, and the certificate
   says what that comes to.
2. An exact result has no epsilon against anybody (RULES 20, 35).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kernel.events import Record
from privacy.homomorphic.requests.questions import CollectionKind


class Observer(StrEnum):
    """Who looks."""

    TRAINER = "trainer"
    GATEWAY = "gateway"
    KEY_HOLDER = "key-holder"
    SITE = "site"


class Seen(StrEnum):
    """What may be seen. The values are read by people."""

    OWN_ROWS = "own-rows"
    CIPHERTEXTS = "ciphertexts"
    SUMS = "sums-of-all-sites"
    STATES = "state-of-each-round"
    RESULT = "result"


@dataclass(frozen=True, kw_only=True)
class ObserverFacts(Record):
    """What one observer sees, and whether it holds the secret key."""

    observer: Observer
    secret_key: bool
    sees: tuple[Seen, ...]


def _observers(*, states: bool) -> tuple[ObserverFacts, ...]:
    between = (Seen.STATES,) if states else ()
    return (
        ObserverFacts(observer=Observer.TRAINER, secret_key=False, sees=(*between, Seen.RESULT)),
        ObserverFacts(observer=Observer.GATEWAY, secret_key=False, sees=(Seen.CIPHERTEXTS, *between, Seen.RESULT)),
        ObserverFacts(observer=Observer.KEY_HOLDER, secret_key=True, sees=(Seen.SUMS, *between, Seen.RESULT)),
        ObserverFacts(observer=Observer.SITE, secret_key=False, sees=(Seen.OWN_ROWS, *between)),
    )


OBSERVERS: Final[Mapping[CollectionKind, tuple[ObserverFacts, ...]]] = {
    CollectionKind.HE_GLM: _observers(states=True),
    CollectionKind.HE_STATISTICS: _observers(states=False),
}
"""For each kind, under a profile in which sites encrypt with a public key."""
