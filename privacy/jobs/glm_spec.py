"""Requests for a generalised linear model with standard errors, in their final form.

Form: docs/formats/job-spec.md, "Generalised linear model".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kernel.amounts import Epsilon
from kernel.canonical import Digest, digest_of
from kernel.errors import InvalidError
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.glm.design import MOST_TERMS, Design, design_of
from privacy.glm.families import Family, read_family
from privacy.jobs.features import Feature, FeatureSpec, Transform
from privacy.jobs.head import (
    COMMON,
    VERSION,
    JobKind,
    RowChoice,
    check_epsilon,
    check_head,
    common_of,
    members_of_request,
    rows_of,
    with_rows,
)
from privacy.jobs.labels import Encoding, Label, default_label
from privacy.jobs.strict import one_of
from privacy.schema import Column, ColumnKind, TableSchema

_MEMBERS: Final = ("v", "kind", *COMMON, "family", "features", "counted")
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
class GlmSpec:
    """A request for coefficients with standard errors.

    Attributes:
        dataset, purpose: On what, and why.
        epsilon: Of this job alone, at the population's delta.
        family: Linear, logistic or Poisson.
        features: The predictors, and the outcome as label.
        counted: Whether every unit counts the same, or every row.
        rows: All units of the version, or those at home in its block alone, which charges no other block.
    """

    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    family: Family
    features: FeatureSpec
    counted: Counted = Counted.UNIT
    rows: RowChoice = RowChoice.ALL

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)

    @property
    def kind(self) -> JobKind:
        """A generalised linear model."""
        return JobKind.GLM

    @property
    def used_release(self) -> ReleaseId | None:
        """None: no released model is used."""
        return None

    @property
    def digest(self) -> Digest:
        """What decision, approval and reservation bind."""
        return digest_of("job-request/v1", self.to_json())

    def design(self, schema: TableSchema) -> Design:
        """The model on this schema.

        Raises:
            InvalidError: The features or the outcome do not fit the schema or the family.
            TooLargeError: Too many terms.
        """
        return design_of(self.family, self.features, schema)

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        body = {
            "v": VERSION,
            "kind": self.kind.value,
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
            "family": self.family.value,
            "features": self.features.to_json(),
            "counted": self.counted.value,
        }
        return with_rows(body, self.rows)

    @classmethod
    def from_json(cls, body: Any) -> GlmSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(body, _MEMBERS, ("rows",))
        check_head(members, JobKind.GLM)
        return cls(
            **common_of(members),
            family=one_of(Family, members["family"], "family"),
            features=FeatureSpec.from_json(members["features"]),
            counted=one_of(Counted, members["counted"], "counted"),
            rows=rows_of(members),
        )


def complete_glm(body: Any, schema: TableSchema) -> GlmSpec:
    """Fill in what a trainer left out of a request for a model.

    Args:
        body: `kind`, `dataset`, `purpose`, `epsilon`, `family`, and either `features` in full, or `outcome` (a column's
            name, or a label) and `predictors` (columns' names, or transforms); `counted` may be missing.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range, or a family that is not offered.
        TooLargeError: Too many terms.
    """
    optional = ("v", "features", "outcome", "predictors", "counted", "rows")
    members = members_of_request(body, ("kind", *COMMON, "family"), optional)
    check_head({"v": VERSION, **members}, JobKind.GLM)
    family = read_family(members["family"])
    spec = GlmSpec(
        **common_of(members),
        family=family,
        features=_features(members, family, schema),
        counted=one_of(Counted, members.get("counted", Counted.UNIT.value), "counted"),
        rows=rows_of(members),
    )
    spec.design(schema)
    return spec


def _features(members: Mapping[str, Any], family: Family, schema: TableSchema) -> FeatureSpec:
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
