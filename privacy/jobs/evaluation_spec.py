"""Requests to evaluate a released model on a holdout, in their final form.

Form: docs/formats/job-spec.md, "Evaluation".
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.jobs.head import COMMON, VERSION, JobKind, check_epsilon, check_head, common_of, members_of_request

LEAST_BINS, MOST_BINS = 2, 64
DEFAULT_BINS = 8
DEFAULT_ACCURACY_SHARE: Final = Share(Decimal("0.75"))
_EVALUATION_MEMBERS: Final = ("v", "kind", *COMMON, "release")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSpec:
    """A request to evaluate a released model on a dataset's holdout, at a price.

    Attributes:
        release: The released model.
        dataset, purpose: On whose holdout, and why.
        epsilon: Of this job alone, at the population's delta.
        bins: Cells per class of the histogram of scores.
        accuracy_share: The part of the privacy that goes into the correct and wrong counts.
    """

    release: ReleaseId
    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    bins: int = DEFAULT_BINS
    accuracy_share: Share = DEFAULT_ACCURACY_SHARE

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        whole(LEAST_BINS, MOST_BINS, bins=self.bins)
        if not Decimal("0.01") <= self.accuracy_share.value <= Decimal("0.99"):
            raise InvalidError("`accuracy_share` must lie between 0.01 and 0.99", field="accuracy_share")

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
        return {
            "v": VERSION,
            "kind": self.kind.value,
            "release": str(self.release),
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
            "bins": self.bins,
            "accuracy_share": str(self.accuracy_share),
        }

    @classmethod
    def from_json(cls, body: Any) -> EvaluationSpec:
        """Read the final form, or one without `bins` and `accuracy_share`; raise `InvalidError` otherwise."""
        members = members_of_request(body, _EVALUATION_MEMBERS, ("bins", "accuracy_share"))
        check_head(members, JobKind.EVALUATION)
        share = members.get("accuracy_share")
        return cls(
            **common_of(members),
            release=ReleaseId(members["release"]),
            bins=members.get("bins", DEFAULT_BINS),
            accuracy_share=DEFAULT_ACCURACY_SHARE if share is None else Share.parse(share),
        )
