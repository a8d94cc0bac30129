"""Ciphertext files for a child: where a store keeps them as files, or a spooled copy."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from gateway.records import VersionRecord
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import Slug
from privacy.budget.reservations import Reservation
from privacy.jobs.assignment import PartFile
from privacy.sealing.manifest import Manifest, PartAddress, Split, is_earlier
from privacy.sealing.stores import BlobPath, BlobStore, LocalBlobStore

PIECE = 1 << 20


def version_folder(version: VersionRecord) -> BlobPath:
    """Where the manifest of a version lies, and its parts beside it."""
    if version.manifest_blob is None:
        raise CorruptError("a sealed version has no manifest")
    return BlobPath(version.manifest_blob.rpartition("/")[0])


def listed_parts(
    blobs: BlobStore, version: VersionRecord, split: Split, spool: Path, *, home_only: bool = False
) -> tuple[PartFile, ...]:
    """Return the files of one side of the split, as the store lists them; no key is needed for that.

    Args:
        blobs: Where the ciphertext lies.
        version: Whose parts.
        split: Which side.
        spool: An empty directory for copies, if the store has no files of its own.
        home_only: Without the units that are at home in an earlier block.
    """
    names = [path.rpartition("/")[2] for path in blobs.list(version_folder(version))]
    return tuple(
        _part(blobs, version, Slug(name), spool)
        for name in sorted(names)
        if name.startswith(f"{split.value}-") and not (home_only and is_earlier(name))
    )


def paid_home_only(reservation: Reservation, version: VersionRecord) -> bool:
    """Whether a job's holds pay for the units at home in the version's own block alone.

    What a child gets to see follows from what is held for it, not from what was asked for.

    Raises:
        CorruptError: A hold is on another home block than the version's.
    """
    if any(hold.block.home != version.home for hold in reservation.holds):
        raise CorruptError("a reservation is on another home block than its rows")
    return version.home > 1 and not all(hold.earlier for hold in reservation.holds)


def verify_parts(manifest: Manifest, split: Split, files: Sequence[PartFile], *, home_only: bool = False) -> None:
    """Return if the files are those of the manifest, byte for byte; raise `CorruptError` otherwise."""
    expected = {part.aad: part for part in manifest.parts if part.split is split and not (home_only and part.earlier)}
    if {file.aad for file in files} != set(expected):
        raise CorruptError("the parts of a version are not those of its manifest: some are missing or were added")
    for file in files:
        if _digest_of(Path(file.path)) != expected[file.aad].digest:
            raise CorruptError("a sealed part is not the one in its manifest: it was altered or replaced")


def verify_homes(blobs: BlobStore, version: VersionRecord, manifest: Manifest) -> None:
    """Return if the version's map of home blocks is the manifest's; raise `CorruptError` otherwise.

    It is what told the units of earlier blocks apart. A reservation pins the manifest, and so the map.
    """
    summed = hashlib.sha256()
    with blobs.open(BlobPath(version.homes_blob or "")) as stored:
        while piece := stored.read(PIECE):
            summed.update(piece)
    if Digest.from_raw(summed.digest()) != manifest.homes:
        raise CorruptError("the map of home blocks is not the one that these rows were told apart by")


def local_file(blobs: BlobStore, path: BlobPath, copy: Path) -> Path:
    """The file of a blob: the store's own, or a copy."""
    if isinstance(blobs, LocalBlobStore):
        return blobs.local_path(path)
    with blobs.open(path) as source, copy.open("xb") as target:
        shutil.copyfileobj(source, target, PIECE)
    return copy


def _digest_of(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest.from_raw(hashlib.file_digest(file, "sha256").digest())


def _part(blobs: BlobStore, version: VersionRecord, name: Slug, spool: Path) -> PartFile:
    address = PartAddress(tenant=version.tenant, dataset=version.dataset, version=version.id, name=name)
    path = BlobPath(f"{version_folder(version)}/{name}")
    return PartFile(path=str(local_file(blobs, path, spool / name)), aad=address.aad)
