"""What a document must be to lie in its place: signed by whose it is, and following those that lie there.

Rules
-----
1. Nobody relies on what is checked here: sites and key holder check with their own pins. The gateway checks so that a
   job goes wrong at the document that is wrong, and so that what the log says happened.
2. Nothing that holds a secret key is kept, whatever it claims to be.
3. One sentence for every refusal: what is wrong with ciphertexts is nobody's to learn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from gateway.services.collections.papers import Papers
from kernel.canonical import Digest
from kernel.errors import ConflictError, InvalidError
from kernel.events import Event
from privacy.events.collections import (
    CollectionConcluded,
    KeyAnnounced,
    PartyDeclined,
    RoundDecrypted,
    RoundOpened,
    UploadReceived,
)
from privacy.homomorphic.documents.endings import Final as Concluding
from privacy.homomorphic.documents.endings import Refusal
from privacy.homomorphic.documents.key import JobKey
from privacy.homomorphic.documents.order import Aggregation
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round, RoundResult
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.envelope import read_upload
from privacy.homomorphic.profiles import Mode
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.validator import holds_secret_key, require_public_key


@dataclass(frozen=True, slots=True)
class Accepted:
    """A document that may be stored.

    Attributes:
        digest: By which later documents name it.
        event: What the log says of it.
        changes: What it changes in the job's collection.
        attachment: The artefact beside a final document.
    """

    digest: Digest
    event: Event
    changes: Mapping[str, Any] = field(default_factory=dict)
    attachment: bytes | None = None


def accept(papers: Papers, place: Place, data: bytes) -> Accepted:
    """Judge a document for its place.

    Raises:
        ConflictError: It is not its turn: what it follows is not here, or what follows it is.
        InvalidError, CorruptError: It is not a document of this place.
    """
    if place.kind is not DocumentKind.FINAL:
        refuse_secret_keys(data)
    return _ACCEPT[place.kind](papers, place, data)


def refuse_secret_keys(data: bytes) -> None:
    """Return if no secret key lies in what came; raise `InvalidError` otherwise."""
    if holds_secret_key(data):
        raise InvalidError("this holds a secret key: it was destroyed; a new key is needed", field="content")


def _key(papers: Papers, _: Place, data: bytes) -> Accepted:
    order, parcel = papers.order, Parcel.from_bytes(data)
    key = JobKey.opened(parcel.document, [papers.key_holder.who.identity])
    profile = profile_of(order.profile)
    _require(key.is_of(order) and bool(key.sealed) == (profile.mode is Mode.SEEDED))
    require_public_key(profile, parcel.attached(key.public_key))
    return Accepted(key.digest, KeyAnnounced(job=order.job, key=key.digest, public_key=key.public_key))


def _round(papers: Papers, place: Place, data: bytes) -> Accepted:
    order, number = papers.order, place.number
    if number != papers.collection.round + 1 or number > order.rounds_at_most:
        raise ConflictError("rounds are opened one after the other, as many as the order allows", field="number")
    before = papers.key.digest if number == 1 else papers.result(number - 1).digest
    made = Round.opened(data, [papers.key_holder.who.identity])
    _require((made.job, made.order, made.number, made.previous) == (order.job, order.digest, number, before))
    return Accepted(made.digest, RoundOpened(job=order.job, number=number, round=made.digest), {"round": number})


def _upload(papers: Papers, place: Place, data: bytes) -> Accepted:
    _require_open(papers, place)
    order, site = papers.order, place.party
    member = None if site is None else order.site(site)
    if site is None or member is None:
        raise InvalidError("an upload is a site's of this job", field="content")
    made = read_upload(papers.expected(site, place.number), data, member.who.identity)
    return Accepted(made.digest, UploadReceived(job=order.job, number=place.number, party=site, upload=made.digest))


def _result(papers: Papers, place: Place, data: bytes) -> Accepted:
    _require_open(papers, place)
    order, number, uploads = papers.order, place.number, papers.uploads(place.number)
    made = RoundResult.opened(data, [papers.key_holder.who.identity])
    _require((made.job, made.order, made.number) == (order.job, order.digest, number))
    _require(made.round == papers.round_digest(number))
    _require(all(one.site in uploads and uploads[one.site].digest == one.upload for one in made.added))
    _require(len(made.added) >= len(order.sites) - order.dropouts)
    if order.aggregation is Aggregation.GATEWAY:
        _require(made.added == papers.sum(number).added)
    begun = papers.result(number - 1).decryptions if number > 1 else 0
    _require(made.decryptions > begun)
    event = RoundDecrypted(
        job=order.job,
        number=number,
        result=made.digest,
        sites=len(made.added),
        learned=made.learned,
        decryptions=made.decryptions,
    )
    return Accepted(made.digest, event)


def _final(papers: Papers, _: Place, data: bytes) -> Accepted:
    order, rounds, parcel = papers.order, papers.collection.round, Parcel.from_bytes(data)
    last = papers.result(rounds)
    made = Concluding.opened(parcel.document, [papers.key_holder.who.identity])
    _require((made.job, made.order, made.previous, made.rounds) == (order.job, order.digest, last.digest, rounds))
    always = [site for site in order.parties if all(site in papers.result(n + 1).sites for n in range(rounds))]
    _require(list(made.sites) == always and made.decryptions == last.decryptions)
    event = CollectionConcluded(
        job=order.job, final=made.digest, artifact=made.artefact, rounds=rounds, decryptions=made.decryptions
    )
    return Accepted(made.digest, event, attachment=parcel.attached(made.artefact))


def refusal(papers: Papers, place: Place, data: bytes) -> Accepted:
    """A party does not go on."""
    party = papers.reading.parties.get(id=place.party)
    made = Refusal.opened(data, [party.who.identity])
    _require((made.job, made.party) == (papers.job.id, party.id))  # an order that was not believed is not named
    return Accepted(made.digest, PartyDeclined(job=papers.job.id, party=party.id))


def _require_open(papers: Papers, place: Place) -> None:
    if place.number != papers.collection.round or papers.find(DocumentKind.RESULT, place.number) is not None:
        raise ConflictError("this round is not open", field="number")


def _require(holds: bool) -> None:
    if not holds:
        raise InvalidError(
            "not a document of this place, signed by the party whose it is and made for this job", field="content"
        )


_Accept: TypeAlias = Callable[[Papers, Place, bytes], Accepted]
_ACCEPT: Final[Mapping[DocumentKind, _Accept]] = {
    DocumentKind.KEY: _key,
    DocumentKind.ROUND: _round,
    DocumentKind.UPLOAD: _upload,
    DocumentKind.RESULT: _result,
    DocumentKind.FINAL: _final,
    DocumentKind.REFUSAL: refusal,
}
