"""A gateway that shows parties some documents otherwise than they were left."""

from __future__ import annotations

from collections.abc import Callable

from kernel.ids import JobId, PartyId
from privacy.homomorphic.documents.places import Place
from tests.support.consortium import Carrier, Consortium, Unconfined


class Lying(Carrier):
    """A gateway that shows some documents otherwise than they were left."""

    def __init__(self, order: bytes, job: JobId) -> None:
        super().__init__(order, job)
        self.lie: Callable[[PartyId, Place, bytes | None], bytes | None] = lambda _who, _place, data: data

    def fetch(self, who: PartyId, place: Place) -> bytes | None:
        return self.lie(who, place, super().fetch(who, place))


def played(of: Consortium, lie: Callable[[PartyId, Place, bytes | None], bytes | None]) -> tuple[Lying, Unconfined]:
    """Play a whole job under a lie."""
    carrier: Lying = of.carrier(Lying)
    carrier.lie = lie
    confined = Unconfined()
    assert of.play(carrier, confined=confined) is None
    return carrier, confined
