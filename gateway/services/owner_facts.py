"""What only a dataset's owner may know: exact counts, read from the sealed manifest when they are asked for."""

from __future__ import annotations

from gateway.records import VersionRecord
from gateway.services.collaborators import Collaborators
from kernel.errors import CorruptError
from privacy.sealing.lifecycle import open_dek
from privacy.sealing.manifest import Manifest, Split, open_manifest
from privacy.sealing.secret import SecretBytes
from privacy.sealing.stores import BlobPath


def sealed_rows(on: Collaborators, version: VersionRecord) -> dict[str, int]:
    """How many rows each side of the split has."""
    if version.dek is None:
        raise CorruptError("a sealed version has no data key")
    with on.database.read() as reading:
        wrapped = reading.deks.get(version.dek)
    with open_dek(wrapped, on.keyring) as key:
        manifest = read_manifest(on, version, key)
    return {split.value: manifest.rows(split) for split in Split}


def read_manifest(on: Collaborators, version: VersionRecord, key: SecretBytes) -> Manifest:
    """Open a version's manifest and compare it with the digest that was logged."""
    if version.manifest_blob is None or version.manifest_digest is None:
        raise CorruptError("a sealed version has no manifest")
    with on.blobs.open(BlobPath(version.manifest_blob)) as blob:
        sealed = blob.read()
    return open_manifest(
        sealed,
        key,
        tenant=version.tenant,
        dataset=version.dataset,
        version=version.id,
        digest=version.manifest_digest,
    )
