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
from typing import Any, Final

from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.jobs.evaluation_measures import MOST_SUBGROUPS, Part, check_parts, check_shares, default_shares, groups_of
from privacy.jobs.features import FeatureSpec
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
from privacy.jobs.strict import number_of, one_of
from privacy.schema import TableSchema

LEAST_BINS, MOST_BINS = 2, 64
DEFAULT_BINS = 8
DEFAULT_LEAST_GROUP, LARGEST_LEAST_GROUP = 5, 10**6
DEFAULT_ERROR_BOUND: Final = Parameter("0.5")
LEAST_ERROR_BOUND: Final = Decimal("0.001")
_EVALUATION_MEMBERS: Final = ("v", "kind", *COMMON, "release")
_CHOICES: Final = ("bins", "shares", "subgroups", "least_group", "error_bound")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """A request to evaluate a released model on a dataset's holdout, at a price.

    Attributes:
        release: The released model.
        dataset, purpose: On whose holdout, and why.
        epsilon: Of this job alone, at the population's delta.
        shares: What is measured, and what part of the privacy each measure gets.
        bins: Cells per half of the histogram of scores, if scores are measured.
        error_bound: The part of the label's range that an error counts at most, if errors are measured.
        subgroups: Columns by whose categories figures are wanted.
        least_group: Groups and cells whose noisy count lies below are not shown.
        rows: All units of the version, or those at home in its block alone, which charges no other block.
    """

    release: ReleaseId
    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    shares: Mapping[Part, Share]
    bins: int | None = None
    error_bound: Parameter | None = None
    subgroups: tuple[str, ...] = ()
    least_group: int = DEFAULT_LEAST_GROUP
    rows: RowChoice = RowChoice.ALL

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        check_shares(self.shares)
        self._check_choices()
        whole(0, LARGEST_LEAST_GROUP, least_group=self.least_group)
        if bool(self.subgroups) != (Part.SUBGROUPS in self.shares):
            raise InvalidError("`shares` has subgroups exactly when `subgroups` names columns", field="shares")
        if len(self.subgroups) > MOST_SUBGROUPS or len(set(self.subgroups)) != len(self.subgroups):
            raise InvalidError(f"`subgroups` names at most {MOST_SUBGROUPS} columns, each once", field="subgroups")

    @property
    def kind(self) -> JobKind:
        """Evaluation."""
        return JobKind.EVALUATION

    @property
    def used_release(self) -> ReleaseId | None:
        """The model that is evaluated: whoever asks must be allowed to fetch it."""
        return self.release

    @property
    def digest(self) -> Digest:
        """What decision, approval and reservation bind."""
        return digest_of("job-request/v1", self.to_json())

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        body: dict[str, Any] = {
            "v": VERSION,
            "kind": self.kind.value,
            "release": str(self.release),
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
            "shares": {part.value: str(share) for part, share in self.shares.items()},
            "subgroups": list(self.subgroups),
            "least_group": self.least_group,
        }
        if self.bins is not None:
            body["bins"] = self.bins
        if self.error_bound is not None:
            body["error_bound"] = str(self.error_bound)
        return with_rows(body, self.rows)

    @classmethod
    def from_json(cls, body: Any) -> EvaluationSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(
            body, (*_EVALUATION_MEMBERS, "shares", "subgroups", "least_group"), ("bins", "error_bound", "rows")
        )
        check_head(members, JobKind.EVALUATION)
        return cls(
            **common_of(members),
            release=ReleaseId(members["release"]),
            shares=_shares(members["shares"]),
            bins=members.get("bins"),
            error_bound=number_of(members.get("error_bound"), "error_bound"),
            subgroups=_columns(members["subgroups"]),
            least_group=members["least_group"],
            rows=rows_of(members),
        )

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
    members = members_of_request(body, _EVALUATION_MEMBERS, (*_CHOICES, "confusion", "rows"))
    check_head(members, JobKind.EVALUATION)
    shares, subgroups = _chosen(members, features), _columns(members.get("subgroups", []))
    spec = EvaluationSpec(
        **common_of(members),
        release=ReleaseId(members["release"]),
        shares=shares,
        bins=members.get("bins", DEFAULT_BINS if Part.SCORES in shares else None),
        error_bound=number_of(
            members.get("error_bound", DEFAULT_ERROR_BOUND if Part.ERRORS in shares else None), "error_bound"
        ),
        subgroups=subgroups,
        rows=rows_of(members),
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
