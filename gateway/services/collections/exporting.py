"""The parties' documents of an export: exactly those that the exported log cites.

Rules
-----
1. What is written follows from the archive's own entries: what came after its checkpoint is left for the next export.
2. Signed documents alone. Ciphertexts, keys, states and artefacts stay where they are: who reads the log is not
   thereby one who may fetch what leaves (RULES 19).
3. A document that is not here is left out: the reader misses it, because the log cites it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import assert_never

from audit.archive import Archive
from gateway.services.collaborators import Collaborators
from gateway.services.collections.papers import signed_part
from gateway.unit_of_work import Reading
from kernel.errors import PrivgateError
from kernel.events import Registry
from kernel.ids import TenantId
from privacy.homomorphic.documents.citing import CITING, Cited, OfJob, OfParty, OfVersion, cited

_REGISTRY = Registry(tuple(CITING))


def write_documents(on: Collaborators, tenant: TenantId, directory: Path) -> None:
    """Write the documents that the tenant's archive in a directory cites."""
    with on.database.read() as reading:
        if not reading.parties.all(tenant=tenant):
            return
        for found in _cited(Archive.open(directory)):
            data = _document(on, reading, found)
            if data is not None:
                path = directory / found.file
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)


def _cited(archive: Archive) -> Iterator[Cited]:
    for entry in archive.entries():
        payload = entry.payload
        try:
            found = cited(_REGISTRY.decode(payload.type, payload.version, payload.fields))
        except PrivgateError:
            continue  # of a newer version: its reader will say so
        if found is not None:
            yield found


def _document(on: Collaborators, reading: Reading, found: Cited) -> bytes | None:
    match found.where:
        case OfParty(party):
            record = reading.parties.find(id=party)
            return None if record is None else record.who.to_bytes()
        case OfVersion(version):
            attested = reading.versions.find(id=version)
            return None if attested is None else attested.attestation
        case OfJob(place):
            stored = reading.documents.find(
                job=place.job, kind=place.kind.value, number=place.number, party=place.party or ""
            )
            return None if stored is None else signed_part(on, stored)
        case _:
            assert_never(found.where)
