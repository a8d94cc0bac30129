"""`verify_entries_per_s`: the offline log verifier over an archive of 100,000 entries of one tenant."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from audit import log
from audit.entry import Actor
from audit.events import LogRead, ReadScope
from audit.export import write_archive
from audit.memory import MemoryLog, MemoryTiles
from audit.note import NoteKey
from audit.sequencer import Sequencer
from audit.trust import TrustFile
from audit.verify import Outcome, verify_directory
from benchmarks.lines import Line, seconds
from kernel.ids import DecisionId, TenantId
from kernel.signing import Ed25519Signer

ENTRIES = 100_000
RUNS = 5
ORIGIN = "bench.privgate.local/log"


def measure() -> Iterator[Line]:
    """Make the archive and verify it several times."""
    with tempfile.TemporaryDirectory(prefix="privgate-bench-") as folder:
        trust = make_archive(Path(folder), ENTRIES)

        def verify() -> None:
            found = verify_directory(Path(folder), trust)
            if found.outcome is not Outcome.VERIFIED:
                raise RuntimeError("the benchmark's own archive does not verify")

        verify()
        took = statistics.median(seconds(verify) for _ in range(RUNS))
    yield Line(quantity="verify_entries_per_s", case=f"log of {ENTRIES}", value=ENTRIES / took, unit="entries/s")


def make_archive(folder: Path, entries: int) -> TrustFile:
    """Write an archive of that many entries and return the trust file for it."""
    store, tiles, tenant = MemoryLog(), MemoryTiles(), TenantId.new(os.urandom)
    signer, now = Ed25519Signer(os.urandom(32)), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(entries):
        event = LogRead(decision=DecisionId.new(os.urandom), scope=ReadScope.ENTRIES, first=number, count=1)
        log.append(store, event, tenant=tenant, time=now, actor=Actor(), entropy=os.urandom)
    sequencer = Sequencer(store=store, tiles=tiles, origin=ORIGIN, signers=(signer,))
    while store.pending(1):
        sequencer.step()
    sequencer.step()
    write_archive(folder, tenant=tenant, store=store, tiles=tiles)
    return TrustFile(
        origin=ORIGIN,
        tenant=tenant,
        log_keys=(NoteKey(ORIGIN, signer.public_key),),
        certificate_keys=(signer.public_key,),
        report_keys=(signer.public_key,),
    )
