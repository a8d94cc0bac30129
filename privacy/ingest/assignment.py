"""The assignment of an ingest child: everything it is told before it has a key. Pure: written by the worker.

Rules
-----
1. An assignment holds no key, no row and no count.
2. The unit's column is one of the schema's, so that what follows needs no further look.

Form: docs/formats/ingest-request.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from kernel import canonical
from kernel.amounts import Share
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import DatasetId, PopulationId, TenantId, VersionId
from privacy.budget.reservations import MOST_HOMES
from privacy.ingest.formats import UploadFormat
from privacy.schema import ColumnKind, TableSchema
from privacy.units import PrivacyUnit

VERSION = 1
LIMIT = 64 * 2**20
_LONGEST_PATH = 4096
_MEMBERS = {
    "dataset", "format", "holdout_share", "home", "homes", "output", "population", "schema", "staged", "tenant", "unit",
    "v", "version",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class HomesFile:
    """A population's map of home blocks, and the version with whose sealing it was written."""

    path: str
    version: VersionId

    def __post_init__(self) -> None:
        text(_LONGEST_PATH, homes=self.path)

    @classmethod
    def from_json(cls, body: Any) -> HomesFile | None:
        """Read an assignment's member; nothing for the first version of a population."""
        if body is None:
            return None
        if not isinstance(body, Mapping) or set(body) != {"path", "version"}:
            raise InvalidError("`homes` has `path` and `version`", field="homes")
        return cls(path=body["path"], version=VersionId(body["version"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestAssignment:
    """What to read, how to check it and where to write.

    Attributes:
        tenant, dataset, version, population: Whose rows these are; parts and fingerprints are bound to them.
        staged: The encrypted upload.
        format: How the upload is written.
        schema: What its columns must be.
        unit: Who is protected.
        holdout_share: The part of the units that never trains.
        output: The folder to write into.
        home: The home block that is open.
        homes: The map of who is at home where; nothing for the first version of a population.
    """

    tenant: TenantId
    dataset: DatasetId
    version: VersionId
    population: PopulationId
    staged: str
    format: UploadFormat
    schema: TableSchema
    unit: PrivacyUnit
    holdout_share: Share
    output: str
    home: int = 1
    homes: HomesFile | None = None

    def __post_init__(self) -> None:
        whole(1, MOST_HOMES, home=self.home)
        text(_LONGEST_PATH, staged=self.staged)
        text(_LONGEST_PATH, output=self.output)
        if self.holdout_share.value >= 1:
            raise InvalidError("`holdout_share` must be below 1", field="holdout_share")
        if self.unit.column is not None and self.schema.column(self.unit.column).kind is not ColumnKind.IDENTIFIER:
            raise InvalidError("the unit's column must be an identifier of the schema", field="unit")

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(
            {
                "dataset": self.dataset,
                "format": self.format.to_json(),
                "holdout_share": str(self.holdout_share),
                "home": self.home,
                "homes": None if self.homes is None else {"path": self.homes.path, "version": self.homes.version},
                "output": self.output,
                "population": self.population,
                "schema": self.schema.to_json(),
                "staged": self.staged,
                "tenant": self.tenant,
                "unit": self.unit.to_json(),
                "v": VERSION,
                "version": self.version,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = canonical.decode(data, limit=LIMIT)
        if not isinstance(body, Mapping) or set(body) != _MEMBERS or body["v"] != VERSION:
            raise InvalidError("an ingest assignment has exactly the members of its version", field="assignment")
        files = {"staged": body["staged"], "output": body["output"], "homes": HomesFile.from_json(body["homes"])}
        return cls(**_identifiers(body), **_declared(body), **files, home=body["home"])


def _identifiers(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "tenant": TenantId(body["tenant"]),
        "dataset": DatasetId(body["dataset"]),
        "version": VersionId(body["version"]),
        "population": PopulationId(body["population"]),
    }


def _declared(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": UploadFormat.from_json(body["format"]),
        "schema": TableSchema.from_json(body["schema"]),
        "unit": PrivacyUnit.from_json(body["unit"]),
        "holdout_share": Share.parse(body["holdout_share"]),
    }
