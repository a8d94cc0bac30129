"""What an agent tells its child: which file, how it is declared, what to sum, and for how few persons not to.

Form: docs/formats/he-child.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from kernel import canonical
from kernel.checks import text, whole
from kernel.errors import InvalidError
from kernel.ids import Slug
from privacy.homomorphic.documents.order import MOST_SITES
from privacy.homomorphic.documents.parties import LEAST_PERSONS, MOST_PERSONS
from privacy.homomorphic.layout import Layout
from privacy.ingest.formats import UploadFormat
from privacy.jobs.strict import members_of
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

ROLE = "he-site"
LIMIT = 16 * 2**20
_LONGEST_PATH = 4096
_MEMBERS = ("file", "format", "kind", "layout", "least_persons", "place", "plan", "schema", "state", "unit", "v")


class Answer(StrEnum):
    """What the child says.

    `upload`: ciphertexts follow. `refused`: problems of the file follow. `few`: too few persons. `crowded`: somebody
    has more rows than are declared.
    """

    UPLOAD = "upload"
    REFUSED = "refused"
    FEW = "few"
    CROWDED = "crowded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAssignment:
    """One round at one site.

    Attributes:
        file: The site's own file.
        format, schema, unit: How the site declared it.
        kind: The kind of job.
        plan, state: Of order and round.
        layout: Where the numbers lie.
        least_persons: With fewer persons in the sums, nothing is encrypted.
        place: Which of the order's sites this is, from 0.
    """

    file: str
    format: UploadFormat
    schema: TableSchema
    unit: PrivacyUnit
    kind: Slug
    plan: Mapping[str, Any]
    state: Mapping[str, Any]
    layout: Layout
    least_persons: int
    place: int

    def __post_init__(self) -> None:
        text(_LONGEST_PATH, file=self.file)
        whole(LEAST_PERSONS, MOST_PERSONS, least_persons=self.least_persons)
        whole(0, MOST_SITES - 1, place=self.place)
        for name, value in (("plan", self.plan), ("state", self.state)):
            if not isinstance(value, Mapping):
                raise InvalidError(f"`{name}` must be an object", field=name)

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(
            {
                "file": self.file,
                "format": self.format.to_json(),
                "kind": self.kind,
                "layout": self.layout.to_json(),
                "least_persons": self.least_persons,
                "place": self.place,
                "plan": dict(self.plan),
                "schema": self.schema.to_json(),
                "state": dict(self.state),
                "unit": self.unit.to_json(),
                "v": 1,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = members_of(canonical.decode(data, limit=LIMIT), "assignment", _MEMBERS)
        whole(1, 1, v=body["v"])
        return cls(
            file=body["file"],
            format=UploadFormat.from_json(body["format"]),
            schema=TableSchema.from_json(body["schema"]),
            unit=PrivacyUnit.from_json(body["unit"]),
            kind=Slug(body["kind"]),
            plan=body["plan"],
            state=body["state"],
            layout=Layout.from_json(body["layout"]),
            least_persons=body["least_persons"],
            place=body["place"],
        )
