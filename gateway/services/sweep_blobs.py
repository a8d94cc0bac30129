"""Deleting ciphertext that nothing names any more.

Rules
-----
1. Only what belongs to an upload, a version or a job that has ended is deleted, for good: no worker can name it any
   more, because the commit that would is refused under its fence or its state.
2. Whatever belongs to something that is not known may be on its way to becoming known, and is left.
3. Nothing that is deleted here could be opened: its key is destroyed, was never kept, or is of no further use.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

from gateway.records import VersionRecord, VersionState
from gateway.services.collaborators import Collaborators
from kernel.errors import InvalidError, NotFoundError
from kernel.ids import Identifier, JobId, VersionId
from privacy.sealing.stores import BlobPath

Id = TypeVar("Id", bound=Identifier)
STAGED, DATASETS, SAVEPOINTS, QUESTIONS = (BlobPath(name) for name in ("staged", "datasets", "savepoints", "questions"))


def sweep_blobs(on: Collaborators) -> int:
    """Delete all of it; return how many objects. For the start of a worker."""
    versions = {*_named_in(on, VersionId, DATASETS, 2), *_named_in(on, VersionId, STAGED, 1)}
    swept = sum(sweep_version(on, version) for version in sorted(versions))
    for folder in (SAVEPOINTS, QUESTIONS):
        swept += sum(_sweep_job(on, folder, job) for job in sorted({*_named_in(on, JobId, folder, 1)}))
    return swept


def sweep_version(on: Collaborators, version: VersionId) -> int:
    """Delete what an upload that has ended left beside what its version is made of; return how many objects."""
    with on.database.read() as reading:
        try:
            record = reading.versions.get(id=version)
        except NotFoundError:
            return 0
    if not record.state.ended:
        return 0
    left = [path for path in _of_version(on, record) if not _named(record, path)]
    return _deleted(on, left)


def _named_in(on: Collaborators, kind: type[Id], folder: BlobPath, place: int) -> Iterator[Id]:
    """The ids that stand at one place of the names below a folder; what has none there is not ours to judge."""
    for path in on.blobs.list(folder):
        with contextlib.suppress(InvalidError, IndexError):
            yield kind(path.split("/")[place])


def _sweep_job(on: Collaborators, folder: BlobPath, job: JobId) -> int:
    """Savepoints and questions are for the next attempt: once a job has ended there is none."""
    with on.database.read() as reading:
        try:
            record = reading.jobs.get(id=job)
        except NotFoundError:
            return 0
    return _deleted(on, list(on.blobs.list(BlobPath.of(folder, job)))) if record.state.ended else 0


def _of_version(on: Collaborators, version: VersionRecord) -> Iterator[BlobPath]:
    yield from on.blobs.list(BlobPath.of(DATASETS, version.dataset, version.id))
    staged = BlobPath.of(STAGED, version.id)
    if on.blobs.exists(staged):
        yield staged


def _named(version: VersionRecord, path: BlobPath) -> bool:
    """Whether the version is made of it: all beside its manifest; once erased, what tells who was in it alone."""
    if version.state is VersionState.SEALED:
        return path.rpartition("/")[0] == (version.manifest_blob or "").rpartition("/")[0]
    return path in (version.fingerprints_blob, version.homes_blob)


def _deleted(on: Collaborators, paths: Iterable[BlobPath]) -> int:
    count = 0
    for path in paths:
        on.blobs.delete(path)
        count += 1
    return count
