"""A gateway of one job that adds the uploads, as agents see it; tests give it another sum, or other headers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kernel.ids import PartyId
from kernel.signing import Ed25519Signer
from privacy.homomorphic.adding import made_sum
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.envelope import Upload, open_upload
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.tenseal_backend.aggregate import aggregate
from privgate.agents.courses import course_of
from privgate.agents.keyholder.gathering import expected_upload
from tests.support.consortium import Carrier, Consortium, spec_of

LONG = profile_of("bfv-8192-wide-public")
Lie = Callable[["Adding", list[Upload], list[bytes]], tuple[list[Upload], bytes]]


def honest(of: Adding, uploads: list[Upload], bodies: list[bytes]) -> tuple[list[Upload], bytes]:
    """All of them. Without the flood, which nobody sees here and which takes its time."""
    return uploads, aggregate(course_of(of.order).layout, bodies)


class Adding(Carrier):
    """A gateway that adds; tests give it another sum to hand on, another signer, or other headers."""

    order: Order
    signer: Ed25519Signer
    lie: Lie = staticmethod(honest)
    header: Callable[[Place, bytes], bytes] = staticmethod(lambda _, document: document)

    def fetch(self, who: PartyId, place: Place) -> bytes | None:
        if place.kind is DocumentKind.HEADER:
            sent = self.kept.get(replace(place, kind=DocumentKind.UPLOAD))
            return None if sent is None else self.header(place, Parcel.from_bytes(sent).document)
        if place.kind is DocumentKind.SUM and place not in self.kept:
            self._add(place)
        return self.kept.get(place)

    def _add(self, place: Place) -> None:
        sent = [self.kept.get(Place(place.job, DocumentKind.UPLOAD, place.number, site)) for site in self.order.parties]
        if None in sent:
            return
        shown = self.kept[Place(place.job, DocumentKind.ROUND, place.number)]
        opened = Round.opened(shown, [self.order.key_holder.who.identity])
        public = Parcel.from_bytes(self.kept[Place(place.job, DocumentKind.KEY)]).attachment
        course, uploads, bodies = course_of(self.order), [], []
        for site, data in zip(self.order.sites, sent, strict=True):
            expected = expected_upload(self.order, course, public, opened, site.party)
            upload, body = open_upload(expected, data or b"", site.who.identity)
            uploads.append(upload)
            bodies.append(body)
        named, total = self.lie(self, uploads, bodies)
        noised = course.noise is not None and course.noise.by_two
        self.kept[place] = made_sum(expected, named, total, self.signer, noised=noised)


def adding(of: Consortium, lie: Lie = honest, **changed: Any) -> Any:
    """A gateway that carries an order to add, and adds like that."""
    changed = {"profile": LONG.name, "profile_digest": LONG.digest} | changed
    order = of.order(**changed, spec=spec_of(of.order(**changed)) | {"aggregation": "semi-honest-gateway"})
    carrier = Adding(order.signed(of.signer), of.job)
    carrier.order, carrier.signer, carrier.lie = order, of.signer, lie  # type: ignore[method-assign]  # as a test lies
    return carrier
