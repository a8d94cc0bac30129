"""Use case: read the log, export a tenant's archive, hand out what a reader pins.

Rules
-----
1. Reading the log is logged, with what was read and by which decision.
2. An archive is one tenant's: its payloads and salts, the whole gateway's tree, and the documents that the log cites,
   those of the parties of its jobs included.
3. Evidence is read from an archive, online too: export at a checkpoint, then the same code as offline.
"""

from __future__ import annotations

import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audit.archive import Opening
from audit.checkpoint import read_unverified
from audit.events import LogExported, LogRead, ReadScope
from audit.export import Exported, write_archive
from audit.note import NoteKey
from audit.published import PublishedLog
from audit.tiles import TILE_WIDTH, Tile, hashes_at
from audit.trust import LastSeen, TrustFile
from gateway.services.collaborators import Collaborators
from gateway.services.collections.exporting import write_documents
from gateway.services.deciding import Caller
from gateway.spools import spool
from kernel.canonical import Digest
from kernel.errors import NotFoundError, UnavailableError
from kernel.ids import TenantId
from policies.decisions import Deny
from policies.vocabulary import Action
from privacy.sealing.stores import BlobPath

MOST_ENTRIES = 1000
POLL_SECONDS = 0.02
MOST_POLLS = 100


def trust_file(on: Collaborators, tenant: TenantId) -> TrustFile:
    """What a reader pins at enrolment: keys, origin, and the newest checkpoint."""
    note = on.integration.newest_checkpoint()
    seen = LastSeen()
    if note is not None and (checkpoint := read_unverified(note)).size:
        seen = LastSeen(checkpoint.size, checkpoint.root)
    return TrustFile(
        origin=on.origin,
        tenant=tenant,
        log_keys=(NoteKey(on.origin, on.log_signer.public_key),),
        certificate_keys=(on.certificate_signer.public_key,),
        report_keys=(on.report_signer.public_key,),
        last_seen=seen,
    )


def newest_checkpoint(on: Collaborators) -> bytes:
    """The newest signed checkpoint; it is public. Raises `UnavailableError` before the first one."""
    note = on.integration.newest_checkpoint()
    if note is None:
        raise UnavailableError("the log has no checkpoint yet; try again in a moment")
    return note


def read_tile(on: Collaborators, caller: Caller, path: str) -> bytes | Deny:
    """A tile or entry bundle, for whoever may read the log; raise `NotFoundError` beyond the newest checkpoint."""
    tile = Tile.parse(path)
    size = read_unverified(newest_checkpoint(on)).size
    denial = _log_read(on, caller, ReadScope.TILES, first=tile.index * TILE_WIDTH, count=tile.width)
    if denial is not None:
        return denial
    if tile.index * TILE_WIDTH + tile.width > hashes_at(tile.level, size):
        raise NotFoundError("the log has no such tile yet")
    return PublishedLog(on.integration, on.tiles).read(tile)


def read_entries(on: Collaborators, caller: Caller, first: int, count: int) -> list[Opening] | Deny:
    """Payloads and salts of the tenant's entries from its counter `first` on."""
    size = read_unverified(newest_checkpoint(on)).size
    denial = _log_read(on, caller, ReadScope.ENTRIES, first=first, count=count)
    if denial is not None:
        return denial
    return list(on.integration.openings(caller.tenant, first, min(count, MOST_ENTRIES), size))


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A finished archive as one tar file, to be read and closed."""

    content: BinaryIO
    exported: Exported


def export_archive(on: Collaborators, caller: Caller) -> ArchiveFile | Deny:
    """Write the tenant's archive at the newest checkpoint and pack it; what was acknowledged before is in it."""
    await_checkpoint(on, caller.tenant)
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.LOG_EXPORT)
        if isinstance(answer.decision, Deny):
            work.commit("export-denied")
            return answer.decision
        with archive_directory(on, caller.tenant) as (directory, exported):
            write_documents(on, caller.tenant, directory)
            packed = _packed(directory)
        event = LogExported(
            decision=answer.decision.decision,
            size=exported.checkpoint.size,
            root=exported.checkpoint.root,
            entries=exported.entries,
        )
        work.record(event, actor=answer.actor)
        work.commit("export")
    return ArchiveFile(packed, exported)


def await_checkpoint(on: Collaborators, tenant: TenantId, wait: Callable[[float], object] = time.sleep) -> None:
    """Wait a moment for a checkpoint over all that the tenant has logged; under constant writing, go on without.

    To be called outside a work: on SQLite the sequencer could not write meanwhile.
    """
    for _ in range(MOST_POLLS):
        note = on.integration.newest_checkpoint()
        if note is not None and on.integration.covered(tenant, read_unverified(note).size):
            return
        wait(POLL_SECONDS)


@contextmanager
def archive_directory(on: Collaborators, tenant: TenantId) -> Iterator[tuple[Path, Exported]]:
    """Write an archive into a temporary directory that is removed afterwards."""
    with spool() as directory:
        exported = write_archive(directory, tenant=tenant, store=on.integration, tiles=on.tiles)
        _write_certificates(on, tenant, directory)
        _write_evidence(on, tenant, directory)
        yield directory, exported


def _write_certificates(on: Collaborators, tenant: TenantId, directory: Path) -> None:
    folder = directory / "certificates"
    folder.mkdir()
    with on.database.read() as reading:
        for record in reading.releases.all(tenant=tenant):
            (folder / f"{record.id}.json").write_bytes(record.certificate)


def evidence_path(tenant: TenantId, digest: Digest) -> BlobPath:
    """Where the document of an `evidence:snapshot` entry lies."""
    return BlobPath.of("evidence", tenant, f"{digest.hex}.json")


def _write_evidence(on: Collaborators, tenant: TenantId, directory: Path) -> None:
    folder = directory / "evidence"
    folder.mkdir()
    for path in on.blobs.list(BlobPath.of("evidence", tenant)):
        with on.blobs.open(path) as document:
            (folder / path.rpartition("/")[2]).write_bytes(document.read())


def _packed(directory: Path) -> BinaryIO:
    packed = tempfile.TemporaryFile(prefix="privgate-export-")  # noqa: SIM115 - whoever asked for it closes it
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                tar.addfile(_member(directory, path), path.open("rb"))
    packed.seek(0)
    return packed


def _member(directory: Path, path: Path) -> tarfile.TarInfo:
    """A member without owner or time, so that the same history packs to the same bytes."""
    member = tarfile.TarInfo(path.relative_to(directory).as_posix())
    member.size, member.mode, member.mtime = path.stat().st_size, 0o644, 0
    return member


def _log_read(on: Collaborators, caller: Caller, scope: ReadScope, *, first: int, count: int) -> Deny | None:
    with on.database.work(caller.tenant) as work:
        answer = on.decider.decide_in(work, caller, Action.LOG_READ)
        if answer.denial is None:
            event = LogRead(decision=answer.decision.decision, scope=scope, first=first, count=count)
            work.record(event, actor=answer.actor)
        work.commit("log-read")
    return answer.denial
