"""Requests to evaluate a released model on a holdout, in their final form.

Rules
-----
1. The final form says which parts are measured and what share of the privacy each gets; the shares add up to 1.
2. `complete_evaluation` makes it: what a trainer leaves out follows from the model's target and the schema.

Form: docs/formats/job-spec.md, "Evaluation".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final

from kernel.amounts import Share
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import ReleaseId
from privacy.jobs.evaluation_measures import MOST_SUBGROUPS, Part, check_parts, check_shares, default_shares, groups_of
from privacy.jobs.features import FeatureSpec
from privacy.jobs.head import HeadedSpec, JobKind, head_of, members_of_short
from privacy.jobs.strict import number_of, one_of
from privacy.schema import TableSchema

LEAST_BINS, MOST_BINS = 2, 64
DEFAULT_BINS = 8
DEFAULT_LEAST_GROUP, LARGEST_LEAST_GROUP = 5, 10**6
DEFAULT_ERROR_BOUND: Final = Parameter("0.5")
LEAST_ERROR_BOUND: Final = Decimal("0.001")
_CHOICES: Final = ("bins", "shares", "subgroups", "least_group", "error_bound")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec(HeadedSpec):
    """A request to evaluate a released model on a dataset's holdout, at a price.

    Attributes:
        release: The released model.
        shares: What is measured, and what part of the privacy each measure gets.
        bins: Cells per half of the histogram of scores, if scores are measured.
        error_bound: The part of the label's range that an error counts at most, if errors are measured.
        subgroups: Columns by whose categories figures are wanted.
        least_group: Groups and cells whose noisy count lies below are not shown.
    """

    kind: ClassVar[JobKind] = JobKind.EVALUATION
    NEEDED: ClassVar[tuple[str, ...]] = ("release", "shares", "subgroups", "least_group")
    OPTIONAL: ClassVar[tuple[str, ...]] = ("bins", "error_bound")

    release: ReleaseId
    shares: Mapping[Part, Share]
    bins: int | None = None
    error_bound: Parameter | None = None
    subgroups: tuple[str, ...] = ()
    least_group: int = DEFAULT_LEAST_GROUP

    @property
    def used_release(self) -> ReleaseId | None:
        """The model that is evaluated."""
        return self.release

    def _check(self) -> None:
        check_shares(self.shares)
        self._check_choices()
        whole(0, LARGEST_LEAST_GROUP, least_group=self.least_group)
        if bool(self.subgroups) != (Part.SUBGROUPS in self.shares):
            raise InvalidError("`shares` has subgroups exactly when `subgroups` names columns", field="shares")
        if len(self.subgroups) > MOST_SUBGROUPS or len(set(self.subgroups)) != len(self.subgroups):
            raise InvalidError(f"`subgroups` names at most {MOST_SUBGROUPS} columns, each once", field="subgroups")

    def _own_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "release": str(self.release),
            "shares": {part.value: str(share) for part, share in self.shares.items()},
            "subgroups": list(self.subgroups),
            "least_group": self.least_group,
        }
        if self.bins is not None:
            body["bins"] = self.bins
        if self.error_bound is not None:
            body["error_bound"] = str(self.error_bound)
        return body

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "release": ReleaseId(members["release"]),
            "shares": _shares(members["shares"]),
            "bins": members.get("bins"),
            "error_bound": number_of(members.get("error_bound"), "error_bound"),
            "subgroups": _columns(members["subgroups"]),
            "least_group": members["least_group"],
        }

    def _check_choices(self) -> None:
        if (self.bins is not None) != (Part.SCORES in self.shares):
            raise InvalidError("give `bins` exactly when scores are measured", field="bins")
        if self.bins is not None:
            whole(LEAST_BINS, MOST_BINS, bins=self.bins)
        if (self.error_bound is not None) != (Part.ERRORS in self.shares):
            raise InvalidError("give `error_bound` exactly when errors are measured", field="error_bound")
        if self.error_bound is not None and not LEAST_ERROR_BOUND <= self.error_bound.number <= 1:
            raise InvalidError(f"`error_bound` must lie between {LEAST_ERROR_BOUND} and 1", field="error_bound")


def complete_evaluation(body: Any, features: FeatureSpec, schema: TableSchema) -> EvaluationSpec:
    """Fill in what a trainer left out of an evaluation request.

    Args:
        body: The members of the final form, of which only `release`, `dataset`, `purpose` and `epsilon` are needed;
            `confusion`, true or false, may stand in place of `shares`.
        features: Those of the model.
        schema: The dataset's declared schema.

    Returns:
        The final form, which fits the model and the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range, or that such a model does not have.
    """
    members = members_of_short(body, JobKind.EVALUATION, ("release",), (*_CHOICES, "confusion"))
    shares, subgroups = _chosen(members, features), _columns(members.get("subgroups", []))
    spec = EvaluationSpec(
        **head_of(members),
        release=ReleaseId(members["release"]),
        shares=shares,
        bins=members.get("bins", DEFAULT_BINS if Part.SCORES in shares else None),
        error_bound=number_of(
            members.get("error_bound", DEFAULT_ERROR_BOUND if Part.ERRORS in shares else None), "error_bound"
        ),
        subgroups=subgroups,
        least_group=members.get("least_group", DEFAULT_LEAST_GROUP),
    )
    check_parts(spec.shares, features.label.target, classes_of(features, schema))
    for column in spec.subgroups:
        groups_of(schema.column(column, "subgroups"))
    return spec


def classes_of(features: FeatureSpec, schema: TableSchema) -> int:
    """How many classes a model tells apart: 2 where it gives one number for two; for a number it says nothing."""
    return max(2, features.outputs(schema))


def _chosen(members: Mapping[str, Any], features: FeatureSpec) -> dict[Part, Share]:
    confusion = members.get("confusion", False)
    if not isinstance(confusion, bool):
        raise InvalidError("`confusion` must be true or false", field="confusion")
    if "shares" not in members:
        target = features.label.target
        return default_shares(target, confusion=confusion, subgroups=bool(members.get("subgroups")))
    shares = _shares(members["shares"])
    if "confusion" in members and confusion != (Part.CONFUSION in shares):
        raise InvalidError("`shares` and `confusion` disagree: leave `confusion` out", field="confusion")
    return shares


def _shares(body: Any) -> dict[Part, Share]:
    if not isinstance(body, Mapping):
        raise InvalidError("`shares` must be an object: part and decimal text", field="shares")
    read = {one_of(Part, name, "shares"): Share.parse(value) for name, value in body.items()}
    return {part: read[part] for part in Part if part in read}


def _columns(body: Any) -> tuple[str, ...]:
    if not isinstance(body, (list, tuple)) or any(not isinstance(name, str) for name in body):
        raise InvalidError("`subgroups` must list names of columns", field="subgroups")
    return tuple(body)
