"""Use case: seal a staged upload: all of it, or a refusal that only its owner can read.

Rules
-----
1. The parts are stored before the one work that makes them the dataset's version; what a crash leaves is never named.
2. The upload's own key is destroyed in that work, sealed or refused: the raw file cannot be opened again.
3. Units that are, or ever were, in another population of the same owner refuse the seal (RULES 1): the lists of erased
   versions are compared like any other. The answer goes to the owner alone; the log has the rule's name.
4. Seals of one organisation commit one after the other, under the lock of its policy. Under it the versions that were
   compared are looked at again: if another one was sealed meanwhile, nothing is committed before it is compared, too.
5. Every attempt writes to a folder of its own, so that a worker that comes back late overwrites nothing.
6. The population's map of home blocks grows by one version at a time: if another version of the population was sealed
   meanwhile, the upload is sealed anew on top of that one's map (RULES 2).
7. What the child wrote is read as what a hostile program wrote: plain files of the child's own folder, no link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from gateway.records import DatasetRecord, TaskRecord, VersionRecord, VersionState
from gateway.services.collaborators import Collaborators
from gateway.services.populations import population_key
from gateway.unit_of_work import SYSTEM, Reading, Work
from kernel.canonical import Digest
from kernel.errors import CorruptError
from kernel.ids import DekId, Slug, TenantId, VersionId
from policies.events import DatasetMoved
from policies.vocabulary import DatasetState
from privacy.budget.balances import Account
from privacy.events.sealing import DekCreated, DekDestroyed, KeyPurpose, VersionRefused, VersionSealed
from privacy.ingest.fingerprints import list_key, overlap, read_fingerprints
from privacy.ingest.formats import Problem, Rule
from privacy.schema import TableSchema
from privacy.sealing.deks import commit, new_dek
from privacy.sealing.lifecycle import destroy_dek, open_dek, wrap_dek
from privacy.sealing.manifest import SALT_BYTES, Manifest, Part, seal_manifest
from privacy.sealing.secret import SecretBytes
from privacy.sealing.stores import READ_FILE, BlobPath
from privacy.sealing.wrapping import KeyContext
from privacy.units import PrivacyUnit

MANIFEST = "manifest"
FINGERPRINTS = "fingerprints"
HOMES = "homes"


@dataclass(frozen=True, slots=True)
class Staged:
    """A staged upload with the declarations that it is checked against.

    Attributes:
        newest: The version with the population's newest map of home blocks; nothing if this is its first.
    """

    version: VersionRecord
    dataset: DatasetRecord
    account: Account
    newest: VersionRecord | None = None

    @property
    def path(self) -> BlobPath:
        """Where the raw upload lies, encrypted."""
        return BlobPath(self.version.staged_blob or "")


@dataclass(frozen=True, slots=True)
class SealKeys:
    """What the ingest child gets: the upload's key, the new version's, the population's and the tenant's.

    Attributes:
        dek: The new data key's id; its wrapped form is stored with the sealed version.
    """

    upload: SecretBytes
    version: SecretBytes
    population: SecretBytes
    tenant: SecretBytes
    dek: DekId

    def body(self) -> bytes:
        """The keys in the order in which the child reads them (docs/formats/ingest-request.md)."""
        return b"".join(key.reveal() for key in (self.upload, self.version, self.population, self.tenant))


@dataclass(frozen=True, slots=True)
class SealedFiles:
    """What the child wrote in one directory: encrypted parts, the fingerprints of their units, the map of homes."""

    directory: Path
    parts: Sequence[Part]
    fingerprints: Digest
    homes: Digest


class Sealed(Enum):
    """How a sealing ended."""

    DONE = auto()
    OVERLAPS = auto()
    OVERTAKEN = auto()


def fingerprint_key(tenant: TenantId) -> Slug:
    """The name under which the keyring keeps a tenant's key for fingerprints of units."""
    return Slug(f"fingerprints/{tenant}")


def read_staged(on: Collaborators, task: TaskRecord) -> Staged:
    """Read what a seal task is about."""
    with on.database.read() as reading:
        version = reading.versions.get(id=VersionId(task.subject))
        dataset = reading.datasets.get(id=version.dataset)
        account = reading.ledger.read(dataset.population).account
        return Staged(version, dataset, account, newest_homes(reading, dataset))


def newest_homes(reading: Reading, dataset: DatasetRecord) -> VersionRecord | None:
    """The version whose sealing wrote the newest map of home blocks of the dataset's population, if there is one."""
    sealed = [
        version
        for other in reading.datasets.all(tenant=dataset.tenant, population=dataset.population)
        for version in reading.versions.all(dataset=other.id)
        if version.state.was_sealed
    ]
    return max(sealed, key=lambda version: version.homes_seq or 0, default=None)


@contextlib.contextmanager
def seal_keys(on: Collaborators, staged: Staged) -> Iterator[SealKeys]:
    """Open the keys of one sealing; they are wiped afterwards."""
    with on.database.read() as reading:
        wrapped = reading.deks.get(staged.version.staged_dek or DekId(""))
    with contextlib.ExitStack() as opened:
        yield SealKeys(
            opened.enter_context(open_dek(wrapped, on.keyring)),
            opened.enter_context(new_dek(on.entropy)),
            opened.enter_context(on.keyring.secret(population_key(staged.dataset.population))),
            opened.enter_context(on.keyring.secret(fingerprint_key(staged.version.tenant))),
            DekId.new(on.entropy),
        )


def seal(on: Collaborators, task: TaskRecord, staged: Staged, keys: SealKeys, files: SealedFiles) -> Sealed:
    """Store what the child wrote and make it the dataset's current version.

    Returns:
        How it ended: done; a unit is, or ever was, in another population of the same owner; or another version of this
        population was sealed meanwhile, so that the child must be asked again. Unless it is done, what was stored is
        named by nothing, and its key is kept nowhere.

    Raises:
        CorruptError: A file is not the one that the child named.
        StaleError: Another worker took the task over.
    """
    compared: frozenset[VersionId] = frozenset()
    others = _neighbours(on, staged, compared)
    if overlaps(on, staged, keys, files, others):
        return Sealed.OVERLAPS
    made = _store_all(on, task, staged, keys, files)
    while True:
        compared |= {other.id for other in others}
        ended = _commit_sealed(on, task, staged, keys, made, compared)
        if ended is not Sealed.OVERLAPS:
            break
        others = _neighbours(on, staged, compared)
        if overlaps(on, staged, keys, files, others):
            return Sealed.OVERLAPS
    if ended is Sealed.DONE:
        on.blobs.delete(staged.path)
    return ended


def overlaps(
    on: Collaborators, staged: Staged, keys: SealKeys, files: SealedFiles, others: Sequence[VersionRecord]
) -> bool:
    """Whether a unit of the upload is in one of these versions too."""
    key = list_key(keys.tenant)
    for other in others:
        if other.dek is None:
            continue  # rows of a site, which never came here
        if other.fingerprints_blob is None:
            raise CorruptError("a version has no list of its units")
        with (
            on.blobs.open(BlobPath(other.fingerprints_blob)) as theirs,
            _open_plain(files.directory / FINGERPRINTS) as ours,
        ):
            of_other = read_fingerprints(theirs, key, other.tenant, other.id)
            if overlap(read_fingerprints(ours, key, staged.version.tenant, staged.version.id), of_other):
                return True
    return False


def refuse(
    on: Collaborators, task: TaskRecord, staged: Staged, problems: Sequence[Problem], *, more: bool = False
) -> None:
    """Refuse an upload as a whole; what was wrong is kept for its owner."""
    body = {"problems": [problem.to_json() for problem in problems], "more": more}
    rule = problems[0].rule if problems else Rule.DID_NOT_FINISH
    with on.database.work(task.tenant) as work:
        work.tasks.require_fence(task)
        work.policy.lock(task.tenant)
        version = staged.version.id
        work.versions.change(
            {"id": version}, state=VersionState.REFUSED, staged_blob=None, staged_dek=None, problems=body
        )
        _destroy_upload_key(work, staged)
        work.record(VersionRefused(version=version, dataset=staged.dataset.id, rule=Slug(rule.value)))
        before = DatasetState.REGISTERED if staged.dataset.current_version is None else DatasetState.SEALED
        _move(on, work, staged, before)
        work.tasks.finish(task)
        work.commit("seal-refused")
    on.blobs.delete(staged.path)


@dataclass(frozen=True, slots=True)
class _Stored:
    """What lies in the store and waits for the commit that names it."""

    manifest: Manifest
    manifest_blob: BlobPath
    fingerprints_blob: BlobPath
    homes_blob: BlobPath


def _neighbours(on: Collaborators, staged: Staged, compared: frozenset[VersionId]) -> list[VersionRecord]:
    with on.database.read() as reading:
        return _sealed_elsewhere(reading, staged, compared)


def _sealed_elsewhere(reading: Reading, staged: Staged, compared: frozenset[VersionId]) -> list[VersionRecord]:
    """The versions that the owner sealed in other populations, less those that were compared.

    Earlier versions count like the current one, and so do erased ones: what was spent on a unit stays spent.
    """
    return [
        version
        for dataset in reading.datasets.all(tenant=staged.dataset.tenant, owner=staged.dataset.owner)
        if dataset.population != staged.dataset.population
        for version in reading.versions.all(dataset=dataset.id)
        if version.state.was_sealed and version.id not in compared
    ]


def _store_all(on: Collaborators, task: TaskRecord, staged: Staged, keys: SealKeys, files: SealedFiles) -> _Stored:
    attempt = f"{task.fence}-{on.entropy(4).hex()}"
    folder = BlobPath.of("datasets", staged.dataset.id, staged.version.id, attempt).split("/")
    for part in files.parts:
        _store(on, files.directory / part.name, BlobPath.of(*folder, part.name), part.digest)
    fingerprints = BlobPath.of(*folder, FINGERPRINTS)
    _store(on, files.directory / FINGERPRINTS, fingerprints, files.fingerprints)
    homes = BlobPath.of(*folder, HOMES)
    _store(on, files.directory / HOMES, homes, files.homes)
    manifest = _manifest(on, staged, keys, files)
    place = BlobPath.of(*folder, MANIFEST)
    on.blobs.put_new(place, seal_manifest(manifest, keys.version))
    return _Stored(manifest, place, fingerprints, homes)


def _store(on: Collaborators, file: Path, path: BlobPath, digest: Digest) -> None:
    with _open_plain(file) as source:
        stored = on.blobs.put_new(path, source)
    if stored.digest != digest:
        raise CorruptError("a file of the ingest child is not the one that it named")


def _open_plain(path: Path) -> BinaryIO:
    """Open a file that the child wrote; a link could name any file that the gateway may read."""
    try:
        file = os.open(path, READ_FILE)
    except OSError:
        raise CorruptError("the ingest child named a file that it did not write") from None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise CorruptError("the ingest child left something else than a plain file")
    return os.fdopen(file, "rb")


def _manifest(on: Collaborators, staged: Staged, keys: SealKeys, files: SealedFiles) -> Manifest:
    return Manifest(
        tenant=staged.version.tenant,
        dataset=staged.dataset.id,
        version=staged.version.id,
        population=staged.dataset.population,
        schema=TableSchema.from_json(staged.dataset.schema).digest,
        unit=PrivacyUnit.from_json(staged.dataset.unit),
        dek=keys.dek,
        commitment=commit(keys.version),
        parts=tuple(sorted(files.parts, key=lambda part: part.name)),
        salt=on.entropy(SALT_BYTES).hex(),
        fingerprints=files.fingerprints,
        homes=files.homes,
    )


def _commit_sealed(
    on: Collaborators,
    task: TaskRecord,
    staged: Staged,
    keys: SealKeys,
    made: _Stored,
    compared: frozenset[VersionId],
) -> Sealed:
    """Name what was stored; not if a version was sealed elsewhere that has not been compared, or in this population."""
    version, dataset, manifest = staged.version, staged.dataset, made.manifest
    context = KeyContext(
        tenant=version.tenant, dek=keys.dek, purpose=KeyPurpose.VERSION, dataset=dataset.id, version=version.id
    )
    record = wrap_dek(context, keys.version, on.keyring)
    assert record.wrapped is not None
    kek = record.wrapped.kek_version
    with on.database.work(task.tenant) as work:
        work.tasks.require_fence(task)
        work.policy.lock(task.tenant)
        if _sealed_elsewhere(work, staged, compared):
            return Sealed.OVERLAPS
        newest = newest_homes(work, dataset)
        if (newest and newest.id) != (staged.newest and staged.newest.id):
            return Sealed.OVERTAKEN
        home, seq = staged.account.homes, 1 + ((newest and newest.homes_seq) or 0)
        work.deks.add(record)
        work.versions.change(
            {"id": version.id}, state=VersionState.SEALED, staged_blob=None, staged_dek=None, dek=keys.dek,
            manifest_blob=str(made.manifest_blob), manifest_digest=manifest.digest,
            fingerprints_blob=str(made.fingerprints_blob), home=home, homes_blob=str(made.homes_blob), homes_seq=seq,
        )  # fmt: skip
        work.datasets.change({"id": dataset.id}, current_version=version.id)
        work.record(DekCreated(dek=keys.dek, purpose=KeyPurpose.VERSION, kek_version=kek, version=version.id))
        _destroy_upload_key(work, staged)
        work.record(
            VersionSealed(
                version=version.id,
                dataset=dataset.id,
                population=dataset.population,
                manifest=manifest.digest,
                dek=keys.dek,
                kek_version=kek,
                home=None if home == 1 else home,
            )
        )
        _move(on, work, staged, DatasetState.SEALED)
        work.tasks.finish(task)
        work.commit("seal")
    return Sealed.DONE


def _destroy_upload_key(work: Work, staged: Staged) -> None:
    dek = staged.version.staged_dek or DekId("")
    work.deks.replace(destroy_dek(work.deks.get(dek), work.now))
    work.record(DekDestroyed(dek=dek))


def _move(on: Collaborators, work: Work, staged: Staged, after: DatasetState) -> None:
    """Leave `sealing`, unless the dataset was retired meanwhile."""
    epoch = work.policy.lock(work.tenant)
    now = on.decider.at_head(work, epoch).datasets[staged.dataset.id].state
    if now is DatasetState.SEALING:
        dataset = staged.dataset.id
        on.decider.enact(
            work, lambda e: DatasetMoved(epoch=e, dataset=dataset, before=DatasetState.SEALING, after=after), SYSTEM
        )
