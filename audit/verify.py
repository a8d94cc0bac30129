"""The log verifier: numbered steps over one archive, with nothing but a trust file to believe in.

Steps
-----
1. Trust anchor: a trust file is given, and it is for this tenant.
2. Files: exactly those that the checkpoint's size demands, none of them a link.
3. Checkpoint: signed by a pinned key of this log, cosigned by every pinned witness, and by nobody unknown.
4. Growth: not smaller than the pinned checkpoint, and the same up to there.
5. Tree: every tile and the root follow from the leaves.
6. Leaves: each well formed, no entry id twice.
7. Counter: the tenant's leaves count 0, 1, 2, ... without a gap.
8. Payloads: every leaf of the tenant is opened, and nothing is left over.
9. Times: the clock did not run backwards.

What the verifier cannot see is written in `docs/formats/archive.md`. It raises nothing: whatever the archive holds, the
answer is a list of steps.

Reference: RFC 6962, C2SP tlog-tiles, tlog-checkpoint; RULES 27 and 28 of the design.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from audit.archive import Archive, payload_file, tree_files
from audit.checkpoint import Checkpoint, read_unverified, verify_checkpoint
from audit.entry import parse_leaf
from audit.findings import Findings, StepResult, Verdict
from audit.rederive import Rederivation
from audit.tenant import EntryReader, TenantHistory
from audit.tiles import ENTRIES, TILE_WIDTH, Tile, levels_of, tile_at
from audit.trust import TrustFile
from kernel.errors import NotFoundError, PrivgateError
from kernel.ids import TenantId

CHECKPOINT = "audit/checkpoint"
_FIXED_FILES = {"archive.json", "checkpoint"}
_SLACK = 64


class Outcome(StrEnum):
    """What a verification comes to."""

    VERIFIED = "VERIFIED"
    FAILED = "FAILED"
    UNANCHORED = "UNANCHORED"
    CANNOT_TELL = "CANNOT TELL"


@dataclass(frozen=True, slots=True)
class LogVerification:
    """The verifier's answer.

    Attributes:
        steps: One result for each step, in order.
        anchored: Whether a trust file was given.
        checkpoint: The checkpoint, where it could be read; believe it only if the outcome is VERIFIED.
        tenant: Whose history was looked at, where that could be told.
        entries: How many entries of the tenant were found.
    """

    steps: tuple[StepResult, ...]
    anchored: bool
    checkpoint: Checkpoint | None
    tenant: TenantId | None
    entries: int

    @property
    def outcome(self) -> Outcome:
        """FAILED before UNANCHORED before CANNOT TELL before VERIFIED."""
        verdicts = {step.verdict for step in self.steps}
        if Verdict.NOT_OK in verdicts:
            return Outcome.FAILED
        if not self.anchored:
            return Outcome.UNANCHORED
        return Outcome.CANNOT_TELL if Verdict.CANNOT_TELL in verdicts else Outcome.VERIFIED


def verify_log(archive: Archive, trust: TrustFile | None, opened: EntryReader | None = None) -> LogVerification:
    """Go through the steps.

    Args:
        archive: What was exported.
        trust: What the reader pinned; without it the outcome is UNANCHORED at best.
        opened: Is shown every entry of the tenant that opened, so that whoever reads on need not read again.
    """
    return _Verifier(archive, trust, opened).run()


def verify_directory(path: Path, trust: TrustFile | None) -> LogVerification:
    """Open an archive and go through the steps; a directory that is no archive fails at step 2."""
    try:
        archive = Archive.open(path)
    except PrivgateError as error:
        files = Findings(2, "Files")
        files.wrong("audit", error.message)
        return LogVerification((files.result(""),), trust is not None, None, None, 0)
    return verify_log(archive, trust)


class _Verifier:
    def __init__(self, archive: Archive, trust: TrustFile | None, opened: EntryReader | None) -> None:
        self._archive = archive
        self._trust = trust
        self._opened = opened
        self._anchor = Findings(1, "Trust anchor")
        self._files = Findings(2, "Files")
        self._signed = Findings(3, "Checkpoint")
        self._growth = Findings(4, "Growth")
        self._tree = Findings(5, "Tree")
        self._leaves = Findings(6, "Leaves")
        self._counter = Findings(7, "Counter")
        self._payloads = Findings(8, "Payloads")
        self._times = Findings(9, "Times")
        self._unread: set[str] = set()

    def run(self) -> LogVerification:
        tenant = self._check_anchor()
        checkpoint = self._check_checkpoint()
        history = None
        if checkpoint is None:
            self._give_up(CHECKPOINT, "there is no readable checkpoint")
        elif self._tree_is_here(checkpoint.size):
            history = self._walk(checkpoint, tenant)
        self._check_surplus(checkpoint, history)
        return LogVerification(
            steps=self._results(checkpoint, history),
            anchored=self._trust is not None,
            checkpoint=checkpoint,
            tenant=tenant,
            entries=0 if history is None else history.entries,
        )

    def _check_anchor(self) -> TenantId | None:
        claimed: TenantId | None = None
        try:
            claimed = self._archive.tenant
        except PrivgateError as error:
            self._files.wrong("audit/archive.json", error.message)
        if self._trust is None:
            self._anchor.unclear("trust file", "none was given: nothing here says who made this archive")
            return claimed
        if claimed is not None and claimed != self._trust.tenant:
            self._anchor.wrong("audit/archive.json", "the archive is of another tenant than the trust file")
        return self._trust.tenant

    def _check_checkpoint(self) -> Checkpoint | None:
        try:
            note = self._archive.checkpoint_note()
        except PrivgateError as error:
            self._signed.wrong(CHECKPOINT, error.message)
            return None
        if self._trust is None:
            self._signed.unclear(CHECKPOINT, "no key is pinned")
        else:
            self._check_signatures(note, self._trust)
        try:
            return read_unverified(note)
        except PrivgateError as error:
            if self._trust is None:
                self._signed.wrong(CHECKPOINT, error.message)
            return None

    def _check_signatures(self, note: bytes, trust: TrustFile) -> None:
        try:
            verified = verify_checkpoint(
                note, origin=trust.origin, log_keys=trust.log_keys, witnesses=trust.witness_keys
            )
        except PrivgateError as error:
            self._signed.wrong(CHECKPOINT, error.message)
            return
        for witness in trust.witness_keys:
            if witness not in verified.note.signed_by:
                self._signed.unclear(CHECKPOINT, "a pinned witness has not cosigned it")
        if verified.note.unknown:
            self._signed.unclear(CHECKPOINT, "it has a signature by a key that is not pinned")

    def _tree_is_here(self, size: int) -> bool:
        """Whether the archive has about as many files as the size demands: the walk is bounded by what is there."""
        demanded = sum(-(-(size >> (8 * max(level, 0))) // TILE_WIDTH) for level in (ENTRIES, *levels_of(size)))
        if demanded <= len(self._archive.files) + _SLACK:
            return True
        self._files.wrong("audit/tile", "far fewer files than the checkpoint's size demands")
        self._give_up("audit/tile", "most of the tree is missing")
        return False

    def _walk(self, checkpoint: Checkpoint, tenant: TenantId | None) -> TenantHistory:
        pinned = self._pinned_size(checkpoint)
        tree = Rederivation(self._tile, checkpoint.size, self._tree, keep=pinned)
        history = TenantHistory(
            size=checkpoint.size,
            lines=self._lines,
            counter=self._counter,
            payloads=self._payloads,
            times=self._times,
            opened=self._opened,
        )
        ids: set[str] = set()
        for index, data in tree.leaves():
            try:
                leaf = parse_leaf(data)
            except PrivgateError as error:
                self._leaves.wrong(self._bundle_of(index, checkpoint.size), error.message, index)
                continue
            if leaf.id in ids:
                self._leaves.wrong(self._bundle_of(index, checkpoint.size), "the entry id occurs twice", index)
            ids.add(leaf.id)
            if leaf.tenant == tenant:
                history.leaf(index, leaf)
        history.finish()
        tree.finish(checkpoint.root.raw)
        self._check_growth(checkpoint, tree, pinned)
        if tenant is None:
            for findings in (self._counter, self._payloads, self._times):
                findings.unclear("audit/archive.json", "it cannot be told whose archive this is")
        return history

    def _pinned_size(self, checkpoint: Checkpoint) -> int:
        pinned = self._trust.last_seen.size if self._trust else 0
        return min(pinned, checkpoint.size)

    def _check_growth(self, checkpoint: Checkpoint, tree: Rederivation, pinned: int) -> None:
        if self._trust is None:
            self._growth.unclear(CHECKPOINT, "no checkpoint is pinned")
        elif checkpoint.size < self._trust.last_seen.size:
            self._growth.wrong(CHECKPOINT, "the log is smaller than it was when the trust file pinned it: a rollback")
        elif tree.root_at(pinned) != self._trust.last_seen.root.raw:
            self._growth.wrong(CHECKPOINT, f"the first {pinned} entries are not those that the trust file pinned")

    def _check_surplus(self, checkpoint: Checkpoint | None, history: TenantHistory | None) -> None:
        for name in self._archive.foreign:
            self._files.wrong(f"audit/{name}", "a link, a device or an odd name")
        if checkpoint is None or history is None:
            return
        surplus = self._archive.files - _FIXED_FILES
        surplus -= {payload_file(number) for number in range(history.files)}
        surplus -= {tile.path for tile in tree_files(checkpoint.size)}
        for name in sorted(surplus):
            self._files.wrong(f"audit/{name}", "does not belong to an archive of this size")

    def _give_up(self, file: str, why: str) -> None:
        for findings in (self._growth, self._tree, self._leaves, self._counter, self._payloads, self._times):
            findings.unclear(file, why)

    def _tile(self, tile: Tile) -> bytes | None:
        try:
            return self._archive.tile(tile)
        except PrivgateError as error:
            self._cannot_read(f"audit/{tile.path}", error)
            return None

    def _lines(self, number: int) -> list[bytes] | None:
        try:
            return self._archive.payload_lines(number)
        except PrivgateError as error:
            name = f"audit/{payload_file(number)}"
            self._cannot_read(name, error)
            self._payloads.wrong(name, "the payloads of these entries cannot be read")
            return None

    def _cannot_read(self, name: str, error: PrivgateError) -> None:
        if name not in self._unread:
            self._unread.add(name)
            self._files.wrong(name, "missing" if isinstance(error, NotFoundError) else error.message)

    @staticmethod
    def _bundle_of(index: int, size: int) -> str:
        return f"audit/{tile_at(ENTRIES, index // TILE_WIDTH, size).path}"

    def _results(self, checkpoint: Checkpoint | None, history: TenantHistory | None) -> tuple[StepResult, ...]:
        size = checkpoint.size if checkpoint else 0
        entries = history.entries if history else 0
        pinned = self._trust.last_seen.size if self._trust else 0
        log = self._trust.origin if self._trust else ""
        witnesses = len(self._trust.witness_keys) if self._trust else 0
        return (
            self._anchor.result("the trust file is for this tenant"),
            self._files.result("every file that the checkpoint demands is here, and no other"),
            self._signed.result(f"signed by {log} at size {size}; cosigned by {witnesses} pinned witnesses"),
            self._growth.result(f"it extends the pinned checkpoint of size {pinned}"),
            self._tree.result(f"all tiles and the root follow from the {size} leaves"),
            self._leaves.result(f"{size} leaves are well formed, no entry id occurs twice"),
            self._counter.result(f"the tenant's {entries} entries are numbered without a gap"),
            self._payloads.result(f"all {entries} entries of the tenant were opened"),
            self._times.result("no entry is more than a minute earlier than one before it"),
        )
