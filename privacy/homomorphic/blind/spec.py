"""A request for blind training in its final form, and what site and gateway compute by. Pure.

Rules
-----
1. One dataset, whose rows stay with its owner's site. The owner may ask himself, under a grant that lists this kind.
2. `rows` is declared: room for so many, whatever there are (RULES 13).
3. Nothing in it has a price: no number that depends on rows leaves the owner but as a ciphertext under his own key.
4. What is announced fits one parcel, or the request is refused with the field that is too large.

Form: docs/formats/he-blind.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Self

from kernel.canonical import Digest, digest_of
from kernel.checks import text, whole, within
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from kernel.ids import DatasetId, Slug
from privacy.glm.design import Design, design_of
from privacy.glm.families import Family
from privacy.homomorphic.blind.shape import MOST_EPOCHS, MOST_ROWS, BlindShape
from privacy.homomorphic.documents.order import LONGEST_ROUND
from privacy.homomorphic.documents.signed import ATTACHMENT_LIMIT
from privacy.jobs.features import FeatureSpec
from privacy.jobs.glm_spec import features_of_short
from privacy.jobs.strict import members_of, text_of
from privacy.schema import TableSchema

KIND: Final = Slug("he.blind-logistic")
ARTIFACT: Final = "he-blind-final.json"
VERSION: Final = 1
ROUND_SECONDS: Final = 3600
EPOCHS: Final = 10
RATE, DECAY = Parameter("1"), Parameter("0.05")
MOST_RATE: Final = Decimal(100)
_NEEDED: Final = ("kind", "dataset", "purpose", "rows")
_SHORT: Final = ("v", "features", "outcome", "predictors", "epochs", "rate", "decay", "round_seconds")
_FORM: Final = ("v", "kind", "dataset", "purpose", "features", "rows", "epochs", "rate", "decay", "round_seconds")
_PLAN: Final = ("decay", "epochs", "features", "rate", "rows", "schema")


def is_blind(body: Any) -> bool:
    """Whether a request, in any form, is for blind training."""
    return isinstance(body, Mapping) and body.get("kind") == KIND


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindPlan:
    """What site and gateway compute by.

    Attributes:
        features, schema: Predictors and outcome, and their declared columns.
        rows, epochs, rate, decay: As of the request.
        design: The model's terms, which follow from features and schema.
    """

    features: FeatureSpec
    schema: TableSchema
    rows: int
    epochs: int
    rate: Parameter
    decay: Parameter
    design: Design = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "design", design_of(Family.LOGISTIC, self.features, self.schema))
        shape = self.shape
        if shape.key_bytes + shape.data_bytes > ATTACHMENT_LIMIT:
            raise TooLargeError(
                "so many rows of so many terms are more than one parcel holds: lower `rows` or choose fewer predictors",
                field="rows",
            )

    @property
    def shape(self) -> BlindShape:
        """What that makes of ciphertexts."""
        return BlindShape(
            rows=self.rows,
            features=self.design.size,
            epochs=self.epochs,
            rate=float(self.rate.number),
            decay=float(self.decay.number),
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as the order's `plan`."""
        return {
            "decay": str(self.decay),
            "epochs": self.epochs,
            "features": self.features.to_json(),
            "rate": str(self.rate),
            "rows": self.rows,
            "schema": self.schema.to_json(),
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        members = members_of(body, "plan", _PLAN)
        return cls(
            features=FeatureSpec.from_json(members["features"]),
            schema=TableSchema.from_json(members["schema"]),
            **_numbers_of(members),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpec:
    """A request in its final form.

    Attributes:
        dataset: Whose rows; they stay with their site.
        purpose: Why.
        features: Predictors and outcome.
        rows: Room for so many.
        epochs, rate, decay: Of the training.
        round_seconds: How long each document is waited for.
    """

    dataset: DatasetId
    purpose: Slug
    features: FeatureSpec
    rows: int
    epochs: int
    rate: Parameter
    decay: Parameter
    round_seconds: int

    def __post_init__(self) -> None:
        whole(1, LONGEST_ROUND, round_seconds=self.round_seconds)

    @property
    def digest(self) -> Digest:
        """What decisions and approvals bind."""
        return digest_of("job-request/v1", self.to_json())

    def plan(self, schema: TableSchema) -> BlindPlan:
        """What follows on a dataset's declared columns; raise `InvalidError` if the features do not fit them."""
        read = {self.features.label.column, *(feature.column for feature in self.features.columns)}
        return BlindPlan(
            features=self.features,
            schema=TableSchema(tuple(column for column in schema.columns if column.name in read)),
            rows=self.rows,
            epochs=self.epochs,
            rate=self.rate,
            decay=self.decay,
        )

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/he-blind.md says."""
        return {
            "v": VERSION,
            "kind": str(KIND),
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "features": self.features.to_json(),
            "rows": self.rows,
            "epochs": self.epochs,
            "rate": str(self.rate),
            "decay": str(self.decay),
            "round_seconds": self.round_seconds,
        }

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of(body, "request", _FORM)
        _check_head(members)
        return cls(
            **_head_of(members),
            features=FeatureSpec.from_json(members["features"]),
            **_numbers_of(members),
            round_seconds=members["round_seconds"],
        )


@dataclass(frozen=True, slots=True)
class BlindOpening:
    """What is read of a request before anybody looks closer: on what, and why."""

    dataset: DatasetId
    purpose: Slug

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> BlindOpening:
        """Read it; raise `InvalidError` if a member is not what it must be."""
        return cls(**_head_of({"dataset": body.get("dataset", ""), "purpose": body.get("purpose", "")}))


def complete_blind(body: Mapping[str, Any], schema: TableSchema) -> BlindSpec:
    """Fill in what was left out.

    Args:
        body: `kind`, `dataset`, `purpose`, `rows`, and `features` in full, or `outcome` and `predictors`; `epochs`,
            `rate`, `decay` and `round_seconds` may be missing.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range, or an outcome that is not yes or no.
        TooLargeError: Too many terms, or more than one parcel holds.
    """
    members = {"v": VERSION, **members_of(body, "request", _NEEDED, _SHORT)}
    _check_head(members)
    filled = {"epochs": EPOCHS, "rate": RATE, "decay": DECAY, "round_seconds": ROUND_SECONDS, **members}
    spec = BlindSpec(
        **_head_of(filled),
        features=features_of_short(members, Family.LOGISTIC, schema),
        **_numbers_of(filled),
        round_seconds=filled["round_seconds"],
    )
    spec.plan(schema)
    return spec


def _check_head(members: Mapping[str, Any]) -> None:
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
    if members["kind"] != KIND:
        raise InvalidError(f"`kind` must be {KIND}", field="kind")


def _head_of(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": DatasetId(text_of(members["dataset"], "dataset")),
        "purpose": Slug(text(64, purpose=members["purpose"])),
    }


def _numbers_of(members: Mapping[str, Any]) -> dict[str, Any]:
    rate = Parameter.of(text_of(members["rate"], "rate"), "rate")
    decay = Parameter.of(text_of(members["decay"], "decay"), "decay")
    if not 0 < rate.number <= MOST_RATE:
        raise InvalidError(f"`rate` must be above 0 and at most {MOST_RATE}", field="rate")
    within(Decimal(0), Decimal(1), decay=decay.number)
    return {
        "rows": whole(1, MOST_ROWS, rows=members["rows"]),
        "epochs": whole(1, MOST_EPOCHS, epochs=members["epochs"]),
        "rate": rate,
        "decay": decay,
    }
