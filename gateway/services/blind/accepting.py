"""What a document of blind training must be to lie in its place: the site's, and following those that lie there.

Rules
-----
1. Nobody relies on what is checked here but the gateway's own worker: SEAL sees bytes that passed the validator.
2. Nothing that holds a secret key is kept, whatever it claims to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from gateway.services.blind.epochs import Epochs
from gateway.services.collections.accepting import Accepted, refusal, refuse_secret_keys
from gateway.services.collections.papers import Papers
from kernel.errors import ConflictError
from privacy.events.blind import BlindBegun, BlindConcluded, WeightsReceived
from privacy.homomorphic.blind.judging import read_data, read_final, read_weights
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind, Parcel


def accept_blind(papers: Papers, place: Place, data: bytes) -> Accepted:
    """Judge a document for its place.

    Raises:
        ConflictError: It is not its turn: what it follows is not here, or what follows it is.
        InvalidError, CorruptError: It is not a document of this place.
    """
    refuse_secret_keys(data)
    if place.kind is DocumentKind.REFUSAL:
        return refusal(papers, place, data)
    return _ACCEPT[place.kind](Epochs(papers), place, data)


def _data(epochs: Epochs, _: Place, data: bytes) -> Accepted:
    said, _keys, _rows = read_data(epochs.order, data, epochs.site)
    return Accepted(said.digest, BlindBegun(job=said.job, data=said.digest))


def _weights(epochs: Epochs, place: Place, data: bytes) -> Accepted:
    number = place.number
    if number != epochs.number + 1 or number > epochs.plan.epochs:
        raise ConflictError("epochs follow one after the other, as many as the order allows", field="number")
    said, _ = read_weights(epochs.order, number, epochs.before(number), data, epochs.site)
    event = WeightsReceived(job=said.job, number=number, weights=said.digest)
    return Accepted(said.digest, event, {"round": number})


def _final(epochs: Epochs, _: Place, data: bytes) -> Accepted:
    made = epochs.plan.epochs
    said = read_final(epochs.order, made, epochs.required(DocumentKind.GRADIENT, made).digest, data, epochs.site)
    event = BlindConcluded(job=said.job, final=said.digest, model=said.model, epochs=said.epochs)
    return Accepted(said.digest, event, attachment=Parcel.from_bytes(data).document)


_Accept: TypeAlias = Callable[[Epochs, Place, bytes], Accepted]
_ACCEPT: Final[Mapping[DocumentKind, _Accept]] = {
    DocumentKind.DATA: _data,
    DocumentKind.WEIGHTS: _weights,
    DocumentKind.FINAL: _final,
}
OF_SITE: Final = frozenset({*_ACCEPT, DocumentKind.REFUSAL})
"""What a site writes; the order and the gradients are the gateway's."""
OF_BLIND: Final = OF_SITE | {DocumentKind.ORDER, DocumentKind.GRADIENT}
"""What there is, for the site to read."""
