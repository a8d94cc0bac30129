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
from kernel.checks import text
from kernel.errors import InvalidError
from kernel.ids import DatasetId, PopulationId, TenantId, VersionId
from privacy.ingest.formats import UploadFormat
from privacy.schema import ColumnKind, TableSchema
from privacy.units import PrivacyUnit

VERSION = 1
LIMIT = 64 * 2**20
_LONGEST_PATH = 4096
_MEMBERS = {
    "dataset", "format", "holdout_share", "output", "population", "schema", "staged", "tenant", "unit", "v", "version",
}  # fmt: skip


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

    def __post_init__(self) -> None:
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
        return cls(**_identifiers(body), **_declared(body), staged=body["staged"], output=body["output"])


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
