"""Whether a parcel of blind training is the one that is due: signature, members, digests, lengths, fixed bytes. Pure.

Rules
-----
1. Site and gateway judge by the same functions, each from documents that it holds itself; nothing is taken from a
   parcel but its bytes, and those pass the validator before SEAL sees one.
2. One sentence for every failure.
3. Nothing here depends on a key: what is refused here tells nobody anything of what is encrypted.
"""

from __future__ import annotations

from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.signing import PublicKey
from privacy.homomorphic.blind.documents import BlindData, BlindFinal, BlindGradient, BlindOrder, BlindWeights
from privacy.homomorphic.blind.shape import PROFILE, BlindShape
from privacy.homomorphic.blind.spec import BlindPlan
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.validator import holds_secret_key, require_evaluation_keys, require_vectors

_SENTENCE = "not the document of blind training that is due here"


def shape_of(order: BlindOrder) -> BlindShape:
    """What an order announces of ciphertexts."""
    return BlindPlan.from_json(order.plan).shape


def read_data(order: BlindOrder, parcel: bytes, site: PublicKey) -> tuple[BlindData, bytes, bytes]:
    """The site's data: document, evaluation keys, encrypted rows and labels; raise `PrivgateError` otherwise."""
    cut, shape = Parcel.from_bytes(parcel), shape_of(order)
    keys, rows = cut.attachment[: shape.key_bytes], cut.attachment[shape.key_bytes :]
    document = BlindData.opened(cut.document, [site])
    expected = BlindData(
        job=order.job,
        order=order.digest,
        profile=order.profile_digest,
        keys=Digest.of(keys),
        data=Digest.of(rows),
    )
    _require(document == expected and not holds_secret_key(parcel))
    require_evaluation_keys(PROFILE, keys, shape.rotations, products=True)
    require_vectors(PROFILE, rows, 2 * shape.ciphertexts)
    return document, keys, rows


def read_weights(
    order: BlindOrder, number: int, previous: Digest, parcel: bytes, site: PublicKey
) -> tuple[BlindWeights, bytes]:
    """The weights of an epoch, which follow from the document before; raise `PrivgateError` otherwise."""
    cut = Parcel.from_bytes(parcel)
    document = BlindWeights.opened(cut.document, [site])
    expected = BlindWeights(
        job=order.job, order=order.digest, number=number, previous=previous, weights=Digest.of(cut.attachment)
    )
    _require(document == expected and not holds_secret_key(parcel))
    require_vectors(PROFILE, cut.attachment, 1)
    return document, cut.attachment


def read_gradient(
    order: BlindOrder, weights: BlindWeights, parcel: bytes, gateway: tuple[PublicKey, ...]
) -> tuple[BlindGradient, bytes]:
    """The gradient at an epoch's weights; raise `PrivgateError` otherwise."""
    cut, form = Parcel.from_bytes(parcel), shape_of(order).gradient_form
    document = BlindGradient.opened(cut.document, gateway)
    expected = BlindGradient(
        job=order.job,
        order=order.digest,
        number=weights.number,
        weights=weights.digest,
        gradient=Digest.of(cut.attachment),
    )
    _require(document == expected and form.matches(cut.attachment))
    return document, cut.attachment


def read_final(order: BlindOrder, epochs: int, previous: Digest, parcel: bytes, site: PublicKey) -> BlindFinal:
    """The site's last word, with nothing beside it; raise `PrivgateError` otherwise."""
    cut = Parcel.from_bytes(parcel)
    final = BlindFinal.opened(cut.document, [site])
    _require(not cut.attachment)
    _require((final.job, final.order, final.epochs, final.previous) == (order.job, order.digest, epochs, previous))
    return final


def _require(holds: bool) -> None:
    if not holds:
        raise CorruptError(_SENTENCE)
