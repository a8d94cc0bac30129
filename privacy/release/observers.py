"""Who learns what from a job under encryption, apart from what anybody is told: for quotes and certificates alike.

Rules
-----
1. What is listed is what an honest run shows each of them. What several know together is the union, and the certificate
   says what that comes to.
2. An exact result has no epsilon against anybody (RULES 20, 35).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kernel.events import Record
from privacy.homomorphic.inference import Shape
from privacy.homomorphic.noise import NoiseBy
from privacy.homomorphic.profiles import Mode, Profile
from privacy.homomorphic.requests.kinds import CollectionKind


class Observer(StrEnum):
    """Who looks."""

    TRAINER = "trainer"
    GATEWAY = "gateway"
    KEY_HOLDER = "key-holder"
    SITE = "site"
    CLIENT = "client"


class Seen(StrEnum):
    """What may be seen. The values are read by people."""

    OWN_ROWS = "own-rows"
    CIPHERTEXTS = "ciphertexts"
    SUMS = "sums-of-all-sites"
    STATES = "state-of-each-round"
    OWN_NOISE = "noise-of-its-own"
    RESULT = "result"
    MODEL = "model"
    BATCHES = "number-of-batches"
    PRODUCT_KEYS = "keys-for-products"
    SCORES = "scores"
    DECLARED = "declared-rows-terms-and-epochs"


@dataclass(frozen=True, kw_only=True)
class ObserverFacts(Record):
    """What one observer sees, and whether it holds the secret key."""

    observer: Observer
    secret_key: bool
    sees: tuple[Seen, ...]


def table_rows(observers: tuple[ObserverFacts, ...]) -> str:
    """The rows of a card's table: who, whether it has the key, what it sees."""
    return "\n".join(
        f"| {one.observer} | {'yes' if one.secret_key else 'no'} | {', '.join(one.sees)} |" for one in observers
    )


_ONE_ROUND: Final = frozenset({CollectionKind.HE_STATISTICS})
"""Kinds whose rounds do not build on each other, so that nothing is asked in between."""


def observers_of(kind: CollectionKind, profile: Profile, by: NoiseBy = NoiseBy.SITES) -> tuple[ObserverFacts, ...]:
    """Who sees what in a job of this kind under this profile, with noise added by these.

    Under a `seeded` profile every site has the secret key; uploads are then sealed to the key holder, so that a site
    sees no more for it (RULES 36). Who adds the uploads changes nothing of what an honest run shows: where the gateway
    does, the key holder is given no upload at all.
    """
    own = (Seen.OWN_NOISE,) if by is NoiseBy.GATEWAY_AND_KEY_HOLDER else ()
    between = () if kind in _ONE_ROUND else (Seen.STATES,)
    shared = profile.mode is Mode.SEEDED
    return (
        ObserverFacts(observer=Observer.TRAINER, secret_key=False, sees=(*between, Seen.RESULT)),
        ObserverFacts(
            observer=Observer.GATEWAY, secret_key=False, sees=(Seen.CIPHERTEXTS, *own, *between, Seen.RESULT)
        ),
        ObserverFacts(observer=Observer.KEY_HOLDER, secret_key=True, sees=(Seen.SUMS, *own, *between, Seen.RESULT)),
        ObserverFacts(observer=Observer.SITE, secret_key=shared, sees=(Seen.OWN_ROWS, *between)),
    )


def observers_of_inference(shape: Shape) -> tuple[ObserverFacts, ...]:
    """Who sees what when a client asks a released model: how many rows a batch holds, nobody but him."""
    keys = (Seen.PRODUCT_KEYS,) if shape.products else ()
    return (
        ObserverFacts(observer=Observer.CLIENT, secret_key=True, sees=(Seen.OWN_ROWS, Seen.SCORES)),
        ObserverFacts(
            observer=Observer.GATEWAY,
            secret_key=False,
            sees=(Seen.MODEL, Seen.CIPHERTEXTS, Seen.BATCHES, *keys),
        ),
    )
