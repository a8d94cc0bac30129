"""The ingest launcher: one upload in a confined child that parses, checks and encrypts it.

Rules
-----
1. The child reads one staged file and writes into one empty directory; keys go over its pipe.
2. It answers with what it sealed or with what was wrong. If it dies instead, the upload is refused: a file that brings
   its parser down once does so again.
3. What it answers is read as what a hostile program wrote: bounded, of a known form, naming this version's parts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.launchers.local import Confinement
from gateway.launchers.parts import local_file
from gateway.records import TaskRecord
from gateway.services import seal_version
from gateway.services.collaborators import Collaborators
from gateway.services.seal_version import Sealed, SealedFiles, SealKeys, Staged
from gateway.spools import spool
from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, PrivgateError
from privacy.ingest.assignment import HomesFile, IngestAssignment
from privacy.ingest.formats import MOST_PROBLEMS, Problem, Rule, UploadFormat
from privacy.sandbox.frames import Channel
from privacy.sandbox.limits import Limits
from privacy.sandbox.spawn import spawn
from privacy.schema import TableSchema
from privacy.sealing.manifest import Part, PartAddress
from privacy.sealing.stores import BlobPath
from privacy.units import PrivacyUnit

LARGEST_ANSWER = 64 * 2**20
FREE_OUTPUT, OUTPUT_RATIO = 256 * 2**20, 64
"""A child writes parts and encrypted hashes: what a small file may become, and how much larger a large one."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was wrong with a file."""

    problems: Sequence[Problem]
    more: bool = False


DID_NOT_FINISH = Refused([Problem(row=None, column=None, rule=Rule.DID_NOT_FINISH)])


def seal_in_child(on: Collaborators, task: TaskRecord, confinement: Confinement) -> bool:
    """Work on a seal task to its end; return whether the upload was sealed.

    Raises:
        StaleError: Another worker took the task over.
    """
    while True:
        staged = seal_version.read_staged(on, task)
        refused = _attempt(on, task, confinement, staged)
        if not isinstance(refused, Sealed):
            break
    if refused is not None:
        seal_version.refuse(on, task, staged, refused.problems, more=refused.more)
    return refused is None


def _attempt(on: Collaborators, task: TaskRecord, confinement: Confinement, staged: Staged) -> Refused | Sealed | None:
    """Seal on top of the population's newest map of home blocks; `OVERTAKEN` if that is no longer the newest."""
    with (
        spool() as folder,
        seal_version.seal_keys(on, staged) as keys,
    ):
        output = folder / "out"
        output.mkdir(mode=0o700)
        answer = _in_child(on, staged, keys, confinement, output, folder / "staged")
        return answer if isinstance(answer, Refused) else _seal(on, task, staged, keys, answer)


def give_up(on: Collaborators, task: TaskRecord) -> None:
    """Refuse an upload that was tried too often: whatever interrupts it would do so again."""
    seal_version.refuse(on, task, seal_version.read_staged(on, task), DID_NOT_FINISH.problems)


def _seal(
    on: Collaborators, task: TaskRecord, staged: Staged, keys: SealKeys, files: SealedFiles
) -> Refused | Sealed | None:
    try:
        ended = seal_version.seal(on, task, staged, keys, files)
    except CorruptError:
        return DID_NOT_FINISH
    match ended:
        case Sealed.DONE:
            return None
        case Sealed.OVERLAPS:
            return Refused([Problem(row=None, column=None, rule=Rule.OVERLAPS_ANOTHER_POPULATION)])
        case Sealed.OVERTAKEN:
            return ended


def _in_child(
    on: Collaborators, staged: Staged, keys: SealKeys, confinement: Confinement, output: Path, copy: Path
) -> SealedFiles | Refused:
    file = local_file(on.blobs, staged.path, copy)
    homes = _homes_file(on, staged, copy.with_name("homes"))
    readable = [file] if homes is None else [file, Path(homes.path)]
    limits = _limits(confinement.ingest, sum(path.stat().st_size for path in readable))
    # A child that does not come up has seen nothing: the host is at fault, not the file, and the task is tried again.
    with spawn("ingest", limits=limits, readable=readable, writable=output, minimum=confinement.minimum) as child:
        try:
            child.channel.send({"m": "assignment"}, _assignment(staged, file, output, homes).to_bytes())
            _expect_ready(child.channel)
            child.channel.send({"m": "key"}, keys.body())
            return _answer(*child.channel.receive(LARGEST_ANSWER), staged, output)
        except (PrivgateError, OSError):
            return DID_NOT_FINISH


def _limits(most: Limits, upload: int) -> Limits:
    """What a child may write: as much as any honest file of that size becomes."""
    return replace(most, output_bytes=min(most.output_bytes, FREE_OUTPUT + OUTPUT_RATIO * upload))


def _homes_file(on: Collaborators, staged: Staged, copy: Path) -> HomesFile | None:
    newest = staged.newest
    if newest is None or newest.homes_blob is None:
        return None
    return HomesFile(path=str(local_file(on.blobs, BlobPath(newest.homes_blob), copy)), version=newest.id)


def _assignment(staged: Staged, file: Path, output: Path, homes: HomesFile | None) -> IngestAssignment:
    version, dataset = staged.version, staged.dataset
    return IngestAssignment(
        tenant=version.tenant,
        dataset=dataset.id,
        version=version.id,
        population=dataset.population,
        staged=str(file),
        format=UploadFormat.from_json(version.format),
        schema=TableSchema.from_json(dataset.schema),
        unit=PrivacyUnit.from_json(dataset.unit),
        holdout_share=staged.account.population.holdout_share,
        output=str(output),
        home=staged.account.homes,
        homes=homes,
    )


def _expect_ready(channel: Channel) -> None:
    header, _ = channel.receive(0)
    if header != {"m": "ready-for-key"}:
        raise CorruptError("an ingest child sent something else than `ready-for-key`")


def _answer(header: Mapping[str, Any], body: bytes, staged: Staged, output: Path) -> SealedFiles | Refused:
    found = canonical.decode(body, limit=LARGEST_ANSWER)
    try:
        match header:
            case {"m": "sealed"}:
                parts = tuple(_own(Part.from_json(part), staged) for part in found["parts"])
                return SealedFiles(output, parts, Digest(found["fingerprints"]), Digest(found["homes"]))
            case {"m": "refused"}:
                problems = [Problem.from_json(problem) for problem in found["problems"][:MOST_PROBLEMS]]
                return Refused(problems, found["more"] is True)
    except (KeyError, TypeError, ValueError):
        raise CorruptError("an ingest child sent an answer of another form") from None
    raise CorruptError("an ingest child sent a frame that does not belong here")


def _own(part: Part, staged: Staged) -> Part:
    """A part that is bound to the version that is being sealed."""
    of = staged.version
    address = PartAddress(tenant=of.tenant, dataset=of.dataset, version=of.id, name=part.name)
    if part.aad != address.aad:
        raise CorruptError("an ingest child named a part of another version")
    return part
