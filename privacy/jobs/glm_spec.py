"""Requests for a generalised linear model with standard errors, in their final form.

Form: docs/formats/job-spec.md, "Generalised linear model".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final

from kernel.errors import InvalidError
from privacy.glm.design import MOST_TERMS, Design, design_of
from privacy.glm.families import Family, is_hazard, read_family
from privacy.jobs.features import Feature, FeatureSpec, Transform
from privacy.jobs.head import HeadedSpec, JobKind, head_of, members_of_short
from privacy.jobs.labels import Encoding, Label, default_label
from privacy.jobs.strict import one_of
from privacy.schema import Column, ColumnKind, TableSchema

_TRANSFORMS: Final = {
    ColumnKind.NUMERIC: Transform.SCALE,
    ColumnKind.CATEGORICAL: Transform.ONE_HOT,
    ColumnKind.ORDINAL: Transform.ONE_HOT,
    ColumnKind.BOOLEAN: Transform.BOOLEAN,
}


class Counted(StrEnum):
    """What counts once where a unit has several rows."""

    UNIT = "unit"
    ROW = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlmSpec(HeadedSpec):
    """A request for coefficients with standard errors.

    Attributes:
        family: Linear, logistic or Poisson.
        features: The predictors, and the outcome as label.
        counted: Whether every unit counts the same, or every row.
    """

    kind: ClassVar[JobKind] = JobKind.GLM
    NEEDED: ClassVar[tuple[str, ...]] = ("family", "features", "counted")

    family: Family
    features: FeatureSpec
    counted: Counted = Counted.UNIT

    def design(self, schema: TableSchema) -> Design:
        """The model on this schema.

        Raises:
            InvalidError: The features or the outcome do not fit the schema or the family.
            TooLargeError: Too many terms.
        """
        return design_of(self.family, self.features, schema)

    def _check(self) -> None:
        """Whether the outcome fits the family is the schema's to say: see `design`."""

    def _own_json(self) -> dict[str, Any]:
        return {"family": self.family.value, "features": self.features.to_json(), "counted": self.counted.value}

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "family": one_of(Family, members["family"], "family"),
            "features": FeatureSpec.from_json(members["features"]),
            "counted": one_of(Counted, members["counted"], "counted"),
        }


def complete_glm(body: Any, schema: TableSchema) -> GlmSpec:
    """Fill in what a trainer left out of a request for a model.

    Args:
        body: `kind`, `dataset`, `purpose`, `epsilon`, `family`, and either `features` in full, or `outcome` (a column's
            name, or a label) and `predictors` (columns' names, or transforms); `counted` may be missing. The family
            `hazard` is a logistic one in which rows count.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range, or a family that is not offered.
        TooLargeError: Too many terms.
    """
    members = members_of_short(body, JobKind.GLM, ("family",), ("features", "outcome", "predictors", "counted"))
    family = read_family(members["family"])
    spec = GlmSpec(
        **head_of(members),
        family=family,
        features=features_of_short(members, family, schema),
        counted=counted_of(members),
    )
    spec.design(schema)
    return spec


def counted_of(members: Mapping[str, Any]) -> Counted:
    """As asked, by default each unit once; of a hazard every row: how many a person has hangs on the event."""
    hazard = is_hazard(members["family"])
    usual = Counted.ROW if hazard else Counted.UNIT
    counted: Counted = one_of(Counted, members.get("counted", usual.value), "counted")
    if hazard and counted is not Counted.ROW:
        raise InvalidError(
            "of a hazard every row counts: how many rows a person has hangs on the event", field="counted"
        )
    return counted


def features_of_short(members: Mapping[str, Any], family: Family, schema: TableSchema) -> FeatureSpec:
    """Predictors and outcome of a request in short form: `features` in full, or `outcome` and `predictors`."""
    if "features" in members:
        if "outcome" in members or "predictors" in members:
            raise InvalidError("give `features`, or `outcome` and `predictors`, not both", field="features")
        return FeatureSpec.from_json(members["features"])
    if "outcome" not in members or "predictors" not in members:
        raise InvalidError("give `outcome` and `predictors`, or `features` in full", field="predictors")
    predictors = members["predictors"]
    if not isinstance(predictors, Sequence) or isinstance(predictors, str) or not 1 <= len(predictors) <= MOST_TERMS:
        raise InvalidError(f"`predictors` must list 1 to {MOST_TERMS} columns", field="predictors")
    return FeatureSpec(
        columns=tuple(_predictor(one, schema) for one in predictors),
        label=_outcome(members["outcome"], family, schema),
    )


def _predictor(written: Any, schema: TableSchema) -> Feature:
    if isinstance(written, Mapping):
        return Feature.from_json(written)
    if not isinstance(written, str):
        raise InvalidError("a predictor is a column's name or a transform", field="predictors")
    column = schema.column(written, "predictors")
    if column.kind not in _TRANSFORMS:
        raise InvalidError(f"column `{column.name}` cannot be a predictor: it has no coefficient", field="predictors")
    return Feature(column=column.name, transform=_TRANSFORMS[column.kind])


def _outcome(written: Any, family: Family, schema: TableSchema) -> Label:
    if isinstance(written, Mapping):
        return Label.from_json(written)
    if not isinstance(written, str):
        raise InvalidError("`outcome` is a column's name or a label", field="outcome")
    column = schema.column(written, "outcome")
    if family is Family.LOGISTIC and _is_zero_one(column):
        return Label.from_json({"column": column.name, "encoding": Encoding.THRESHOLD.value, "above": "0.5"})
    return default_label(column)


def _is_zero_one(column: Column) -> bool:
    """A number declared to lie in 0 .. 1 is read as no or yes."""
    if column.kind is not ColumnKind.NUMERIC or column.low is None or column.high is None:
        return False
    return column.low.number == 0 and column.high.number == 1
