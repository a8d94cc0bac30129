"""Uploads through the real ingest child: stage, seal, read back."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel import canonical
from kernel.amounts import Share
from kernel.errors import PrivgateError
from kernel.ids import DatasetId, PopulationId, TenantId, VersionId
from privacy.ingest.assignment import HomesFile, IngestAssignment
from privacy.ingest.fingerprints import list_key, read_fingerprints
from privacy.ingest.formats import Problem, Rule, UploadFormat
from privacy.sandbox.endings import Ending, Usage
from privacy.sandbox.limits import Limits
from privacy.sandbox.spawn import spawn
from privacy.schema import TableSchema
from privacy.sealing.chunked import BlobKind, blob_context, encrypt
from privacy.sealing.deks import Label, subkey
from privacy.sealing.manifest import Part, PartAddress, Split
from privacy.sealing.secret import SecretBytes
from privacy.units import PrivacyUnit, UnitKind

MIB = 2**20
LIMITS = Limits(memory_bytes=480 * MIB, cpu_seconds=60, wall_seconds=120, output_bytes=256 * MIB)
TENANT, DATASET = TenantId("ten_" + "a" * 26), DatasetId("dst_" + "b" * 26)
VERSION, POPULATION = VersionId("ver_" + "c" * 26), PopulationId("pop_" + "d" * 26)
RECORD = PrivacyUnit(kind=UnitKind.RECORD, noun="patient")
KEYS = tuple(bytes([number]) * 32 for number in (1, 2, 3, 4))


@dataclass(frozen=True)
class Sealed:
    """What the child sealed, read back."""

    folder: Path
    parts: Sequence[Part]
    fingerprints: list[bytes]
    usage: Usage | None
    key: bytes = KEYS[1]

    def rows(self, split: Split | None = None) -> list[dict[str, Any]]:
        """The rows of one side, or of both."""
        return self.table(split).to_pylist()

    def table(self, split: Split | None = None) -> Any:
        """The rows of one side, or of both, as an Arrow table."""
        import pyarrow as pa

        from privacy.sealing.tables import PartReader, verify_part

        tables = []
        for part in self.parts:
            path = self.folder / part.name
            with path.open("rb") as file:
                verify_part(file, part)
            address = PartAddress(tenant=TENANT, dataset=DATASET, version=VERSION, name=part.name)
            with PartReader(path, SecretBytes(self.key), address) as reader:
                assert reader.rows == part.rows
                chosen = split in (None, part.split)
                tables.append(reader.read() if chosen else reader.schema.empty_table())
        return pa.concat_tables(tables)


@dataclass(frozen=True)
class Refused:
    """What the child refused."""

    problems: Sequence[Problem]
    more: bool
    frame: bytes = b""

    @property
    def rules(self) -> set[Rule]:
        """The rules that were broken."""
        return {problem.rule for problem in self.problems}


@dataclass(frozen=True)
class Died:
    """The child ended without an answer."""

    ending: Ending | None


def schema(*columns: Mapping[str, Any]) -> TableSchema:
    """A schema from column declarations."""
    return TableSchema.from_json({"columns": list(columns)})


def by(column: str, rows: int = 1) -> PrivacyUnit:
    """A unit that a column names."""
    return PrivacyUnit(kind=UnitKind.COLUMN, noun="patient", column=column, rows_per_unit=rows)


def ingest(
    folder: Path,
    data: bytes | Path,
    declared: TableSchema,
    form: str = "csv",
    *,
    unit: PrivacyUnit = RECORD,
    holdout: str = "0",
    limits: Limits = LIMITS,
    keys: Sequence[bytes] = KEYS,
    **options: Any,
) -> Sealed | Refused | Died:
    """Stage an upload and let the confined child seal it."""
    assignment = staged(folder, data, declared, form, unit=unit, holdout=holdout, keys=keys, **options)
    readable, output = [Path(assignment.staged)], Path(assignment.output)
    with spawn("ingest", limits=limits, readable=readable, writable=output) as child:
        child.channel.send({"m": "assignment"}, assignment.to_bytes())
        try:
            assert child.channel.receive(0) == ({"m": "ready-for-key"}, b"")
            child.channel.send({"m": "key"}, b"".join(keys))
            header, body = child.channel.receive(MIB)
        except PrivgateError:
            return Died(child.wait(60))
        assert child.wait(60) is Ending.FINISHED
        usage = child.usage
    found = canonical.decode(body, limit=MIB)
    if header == {"m": "refused"}:
        return Refused([Problem.from_json(problem) for problem in found["problems"]], found["more"], body)
    assert header == {"m": "sealed"}
    return _read_back(output, [Part.from_json(part) for part in found["parts"]], keys, usage)


def ingest_here(folder: Path, *arguments: Any, keys: Sequence[bytes] = KEYS, **options: Any) -> Sealed | Refused:
    """The same in this process: for many small cases that cannot hurt it."""
    from privacy.ingest.findings import RefusedError
    from privacy.ingest.runner import Sealing

    assignment = staged(folder, *arguments, keys=keys, **options)
    try:
        parts = Sealing(assignment, *map(SecretBytes, keys)).run().parts
    except RefusedError as refused:
        return Refused(refused.problems, refused.more)
    return _read_back(Path(assignment.output), list(parts), keys, None)


def staged(
    folder: Path,
    data: bytes | Path,
    declared: TableSchema,
    form: str = "csv",
    *,
    unit: PrivacyUnit = RECORD,
    holdout: str = "0",
    keys: Sequence[bytes] = KEYS,
    home: int = 1,
    homes: HomesFile | None = None,
    **options: Any,
) -> IngestAssignment:
    """Encrypt an upload as the gateway stages it; return what a child would be told."""
    place = Path(tempfile.mkdtemp(dir=folder))
    output = place / "out"
    output.mkdir()
    source = io.BytesIO(data) if isinstance(data, bytes) else data.open("rb")
    with source, (place / "staged").open("xb") as sink:
        context = blob_context(BlobKind.UPLOAD, TENANT, VERSION)
        encrypt(source, sink, subkey(SecretBytes(keys[0]), Label.BLOB), context)
    return IngestAssignment(
        tenant=TENANT, dataset=DATASET, version=VERSION, population=POPULATION, staged=str(place / "staged"),
        format=UploadFormat.of(form, **options), schema=declared, unit=unit, holdout_share=Share.parse(holdout),
        output=str(output), home=home, homes=homes,
    )  # fmt: skip


def _read_back(output: Path, parts: list[Part], keys: Sequence[bytes], usage: Usage | None) -> Sealed:
    with (output / "fingerprints").open("rb") as file:
        marks = list(read_fingerprints(file, list_key(SecretBytes(keys[3])), TENANT, VERSION))
    assert sorted(path.name for path in output.iterdir()) == sorted(
        [*(part.name for part in parts), "fingerprints", "homes"]
    )
    return Sealed(output, parts, marks, usage, keys[1])


def sealed(*arguments: Any, **options: Any) -> Sealed:
    """Ingest something that is sealed."""
    answer = ingest(*arguments, **options)
    assert isinstance(answer, Sealed), answer
    return answer


def refused(*arguments: Any, **options: Any) -> Refused:
    """Ingest something that is refused in so many words."""
    answer = ingest(*arguments, **options)
    assert isinstance(answer, Refused), answer
    return answer
