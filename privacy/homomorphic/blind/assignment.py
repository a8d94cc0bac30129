"""What a site's agent tells its child of blind training, and what it remembers between epochs. Pure.

Rules
-----
1. A memory is secret: weights in the clear. It lies sealed in the agent's vault, and travels over the pipe alone.
2. What went wrong with a gradient is in the memory as one bit, `spoiled`, and nowhere else: the training goes on as if
   nothing were, and ends with a refusal. So whoever computes wrongly on purpose learns one bit of each job, at its end
   (LIMITS); an end at the wrong epoch would tell more.

Form: docs/formats/he-child.md, "Blind training".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from kernel import canonical
from kernel.checks import text, whole
from kernel.errors import InvalidError
from privacy.homomorphic.blind.shape import MOST_EPOCHS, MOST_FEATURES
from privacy.homomorphic.documents.parties import LEAST_PERSONS, MOST_PERSONS
from privacy.ingest.formats import UploadFormat
from privacy.jobs.strict import members_of
from privacy.schema import TableSchema
from privacy.units import PrivacyUnit

ROLE: Final = "he-blind-site"
LIMIT: Final = 16 * 2**20
MEMORY_LIMIT: Final = 2**16
_LONGEST_PATH: Final = 4096
_MEMBERS: Final = ("file", "format", "least_persons", "plan", "schema", "unit", "v")


class Step(StrEnum):
    """What the child is asked for: to begin, or to take a gradient and go on; after the last one it ends."""

    BEGIN = "begin"
    GO_ON = "go-on"


class Answer(StrEnum):
    """What the child says first.

    `begun`, `gone-on`: bodies follow. `ended`: the last memory follows. `refused`: problems of the file follow. `few`:
    too few persons. `many`: more rows than there is room for. `range`: the polynomial's range was left in the dry run.
    `wrong`: what came of the gradients is not what training in the clear gives.
    """

    BEGUN = "begun"
    GONE_ON = "gone-on"
    ENDED = "ended"
    REFUSED = "refused"
    FEW = "few"
    MANY = "many"
    RANGE = "range"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindAssignment:
    """What is trained on which file.

    Attributes:
        file: The site's own file.
        format, schema, unit: How the site declared it.
        plan: The order's.
        least_persons: With fewer persons nothing is encrypted.
    """

    file: str
    format: UploadFormat
    schema: TableSchema
    unit: PrivacyUnit
    plan: Mapping[str, Any]
    least_persons: int

    def __post_init__(self) -> None:
        text(_LONGEST_PATH, file=self.file)
        whole(LEAST_PERSONS, MOST_PERSONS, least_persons=self.least_persons)
        if not isinstance(self.plan, Mapping):
            raise InvalidError("`plan` must be an object", field="plan")

    def to_bytes(self) -> bytes:
        """Encode for the pipe."""
        return canonical.encode(
            {
                "file": self.file,
                "format": self.format.to_json(),
                "least_persons": self.least_persons,
                "plan": dict(self.plan),
                "schema": self.schema.to_json(),
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
            plan=body["plan"],
            least_persons=body["least_persons"],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Where a training stands, at its owner.

    Attributes:
        epochs: How many were made.
        weights: In unit ranges, the constant's first.
        spoiled: Whether a gradient was none, or led out of the polynomial's range.
    """

    epochs: int
    weights: tuple[float, ...]
    spoiled: bool = False

    def __post_init__(self) -> None:
        whole(0, MOST_EPOCHS, epochs=self.epochs)
        whole(1, MOST_FEATURES, weights=len(self.weights))
        if not all(map(math.isfinite, self.weights)) or not isinstance(self.spoiled, bool):
            raise InvalidError("a memory has finite weights", field="memory")

    def to_bytes(self) -> bytes:
        """Encode; numbers as hexadecimal text, exactly, all of one length."""
        weights = [weight.hex() for weight in self.weights]
        return canonical.encode({"epochs": self.epochs, "spoiled": self.spoiled, "v": 1, "weights": weights})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` writes; raise `InvalidError` otherwise."""
        body = members_of(canonical.decode(data, limit=MEMORY_LIMIT), "memory", ("epochs", "spoiled", "v", "weights"))
        whole(1, 1, v=body["v"])
        try:
            weights = tuple(float.fromhex(weight) for weight in body["weights"])
        except (TypeError, ValueError, OverflowError):
            raise InvalidError("a memory's weights are hexadecimal text", field="memory") from None
        return cls(epochs=body["epochs"], weights=weights, spoiled=body["spoiled"])
