"""Writing an archive: one tenant's history at one checkpoint.

Rules
-----
1. What is written is what readers of the log are given: the same tiles, the same note, the tenant's payloads and salts.
2. The checkpoint decides what belongs; what was logged after it is left for the next export.
3. Nothing is overwritten: the directory must not have an `audit/` yet.

Format: `docs/formats/archive.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audit.archive import ENTRIES_PER_FILE, Opening, manifest, payload_file, tree_files
from audit.checkpoint import Checkpoint, read_unverified
from audit.published import LeafStore, PublishedLog, TileStore
from kernel.errors import ConflictError, UnavailableError
from kernel.ids import TenantId


class ExportStore(LeafStore, Protocol):
    """The log's tables as an export reads them, in one snapshot or several: nothing it reads ever changes."""

    def newest_checkpoint(self) -> bytes | None:
        """Return the signed note with the largest size, if there is any."""
        ...

    def openings(self, tenant: TenantId, first: int, count: int, size: int) -> Sequence[Opening]:
        """Return the tenant's entries with an index below `size`, in order, `count` at most from counter `first` on."""
        ...


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds."""

    checkpoint: Checkpoint
    entries: int


def write_archive(
    directory: Path, *, tenant: TenantId, store: ExportStore, tiles: TileStore, note: bytes | None = None
) -> Exported:
    """Write `directory/audit/` for one tenant.

    Args:
        directory: An existing directory without `audit/`.
        tenant: Whose payloads are written.
        store: The log's tables.
        tiles: The log's full tiles.
        note: The checkpoint to export at; the newest if absent.

    Raises:
        ConflictError: The directory already has an archive.
        UnavailableError: The log has no checkpoint yet.
    """
    note = store.newest_checkpoint() if note is None else note
    if note is None:
        raise UnavailableError("the log has no checkpoint yet; try again in a moment")
    checkpoint = read_unverified(note)
    audit = directory / "audit"
    try:
        audit.mkdir()
    except FileExistsError:
        raise ConflictError("the directory already holds an archive; choose another", field="directory") from None
    log = PublishedLog(store, tiles)
    for tile in tree_files(checkpoint.size):
        _write(audit / tile.path, log.read(tile))
    entries = _write_payloads(audit, tenant, store, checkpoint.size)
    _write(audit / "archive.json", manifest(tenant))
    _write(audit / "checkpoint", note)
    return Exported(checkpoint, entries)


def _write_payloads(audit: Path, tenant: TenantId, store: ExportStore, size: int) -> int:
    written = 0
    while True:
        openings = store.openings(tenant, written, ENTRIES_PER_FILE, size)
        if openings:
            lines = b"".join(opening.line() for opening in openings)
            _write(audit / payload_file(written // ENTRIES_PER_FILE), lines)
        written += len(openings)
        if len(openings) < ENTRIES_PER_FILE:
            return written


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
