"""Storing a document in its place, whoever made it: short ones in their row, long ones among the blobs.

Rules
-----
1. What was signed of a long parcel lies in the row as well, so that it is read without the bytes beside it.
2. Of a final the signed document is kept here and no artefact: that is sealed, and leaves by its release alone.
"""

from __future__ import annotations

from gateway.collection_records import DocumentRecord
from gateway.services.collaborators import Collaborators
from gateway.services.collections.accepting import Accepted
from gateway.services.collections.papers import Papers
from gateway.unit_of_work import Work
from kernel.canonical import Digest
from kernel.ids import EntryId
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import PARCELS, DocumentKind, Parcel
from privacy.sealing.stores import BlobPath

INLINE = 1 << 20
"""Longer documents lie among the blobs."""


def keep_bytes(on: Collaborators, place: Place, data: bytes) -> BlobPath | None:
    """Store a long document's bytes, before the work that names them; nothing for a short one."""
    kept = _without_artefact(place, data)
    if len(kept) <= INLINE:
        return None
    path = BlobPath.of("documents", place.job, EntryId.new(on.entropy))
    on.blobs.put_new(path, kept)
    return path


def store_document(
    work: Work, papers: Papers, place: Place, data: bytes, blob: BlobPath | None, accepted: Accepted
) -> DocumentRecord:
    """Put a document into its place and say so in the log, in the work that is open."""
    record = DocumentRecord(
        job=place.job,
        kind=place.kind.value,
        number=place.number,
        party=place.party or "",
        tenant=papers.job.tenant,
        digest=accepted.digest,
        received=Digest.of(data),
        content=_without_artefact(place, data) if blob is None else _signed_of(place, data),
        blob=None if blob is None else str(blob),
        created_at=work.now,
    )
    work.documents.insert(record)
    work.record(accepted.event, correlation=place.job)
    return record


def _without_artefact(place: Place, data: bytes) -> bytes:
    """A document as it is kept and read by parties."""
    return Parcel(Parcel.from_bytes(data).document, b"").to_bytes() if place.kind is DocumentKind.FINAL else data


def _signed_of(place: Place, data: bytes) -> bytes | None:
    """What was signed of a long parcel: it is read without the bytes beside it."""
    return Parcel.from_bytes(data).document if place.kind in PARCELS else None
