"""Job requests in their final form: training or evaluation, with one canonical form and one digest.

Rules
-----
1. A request is data of closed kinds. It has no seed, no code, no path; an unknown member is refused.
2. The digest of the final form is what decision, approval and reservation bind. `complete_training` makes the final
   form: what a trainer leaves out follows from the schema and from declared facts.
3. Every message names the field and what to write instead, and repeats no value.

Form: docs/formats/job-spec.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, TypeAlias

from kernel import canonical
from kernel.amounts import Epsilon, Share
from kernel.canonical import Digest, digest_of
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.graph.check import CheckedGraph
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec, default_features
from privacy.jobs.labels import Target
from privacy.jobs.model import Model, check_target, checked_model, complete_model, model_from_json
from privacy.jobs.recipe import Recipe, default_recipe, rate_for_batch
from privacy.jobs.strict import one_of
from privacy.schema import TableSchema

VERSION = 1
LIMIT = 8 * 2**20
LARGEST_EPSILON = Decimal(100)
LEAST_BINS, MOST_BINS = 2, 64
DEFAULT_BINS = 8
DEFAULT_ACCURACY_SHARE: Final = Share(Decimal("0.75"))


class JobKind(StrEnum):
    """What kinds of job there are."""

    TRAINING = "training"
    EVALUATION = "evaluation"


class Loss(StrEnum):
    """Per-row losses. There is no other, and none can be uploaded."""

    LOGISTIC = "logistic"
    SQUARED = "squared"
    SOFTMAX = "softmax"


_LOSS_OF: Final = {Target.BINARY: Loss.LOGISTIC, Target.REAL: Loss.SQUARED, Target.CLASSES: Loss.SOFTMAX}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec:
    """A request to train a model privately.

    Attributes:
        dataset, purpose: On what, and why.
        epsilon: Of this job alone, at the population's delta.
        model: A template and its choices, or the trainer's own graph.
        features: How rows become numbers.
        loss: Of one row.
        recipe: The trainer's choices about the run.
    """

    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    model: Model
    features: FeatureSpec
    loss: Loss
    recipe: Recipe

    def __post_init__(self) -> None:
        _check_epsilon(self.epsilon)
        target = self.features.label.target
        if self.loss is not _LOSS_OF[target]:
            raise InvalidError(f"`loss` must be {_LOSS_OF[target]} for a {target} target", field="loss")
        check_target(self.model, target)

    @property
    def kind(self) -> JobKind:
        """Training."""
        return JobKind.TRAINING

    @property
    def digest(self) -> Digest:
        """What decision, approval and reservation bind."""
        return digest_of("job-request/v1", self.to_json())

    def model_graph(self, schema: TableSchema) -> CheckedGraph:
        """The model on this schema's rows, checked against every limit.

        Raises:
            InvalidError: The features do not fit the schema, or the model does not fit the features or the label.
            TooLargeError: The model is too large.
        """
        self.features.check(schema)
        return checked_model(self.model, self.features.width(schema), self.features.outputs(schema))

    def to_json(self) -> dict[str, Any]:
        """Encode as docs/formats/job-spec.md says."""
        return {
            "v": VERSION,
            "kind": self.kind.value,
            "dataset": str(self.dataset),
            "purpose": str(self.purpose),
            "epsilon": str(self.epsilon),
            "model": self.model.to_json(),
            "features": self.features.to_json(),
            "loss": self.loss.value,
            "recipe": self.recipe.to_fields(),
        }

    @classmethod
    def from_json(cls, body: Any) -> TrainingSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = _members(body, _TRAINING_MEMBERS, ())
        _check_head(members, JobKind.TRAINING)
        return cls(
            **_common(members),
            model=model_from_json(members["model"]),
            features=FeatureSpec.from_json(members["features"]),
            loss=one_of(Loss, members["loss"], "loss"),
            recipe=_recipe(members["recipe"]),
        )


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
        _check_epsilon(self.epsilon)
        whole(LEAST_BINS, MOST_BINS, bins=self.bins)
        if not Decimal("0.01") <= self.accuracy_share.value <= Decimal("0.99"):
            raise InvalidError("`accuracy_share` must lie between 0.01 and 0.99", field="accuracy_share")

    @property
    def kind(self) -> JobKind:
        """Evaluation."""
        return JobKind.EVALUATION

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
        members = _members(body, _EVALUATION_MEMBERS, ("bins", "accuracy_share"))
        _check_head(members, JobKind.EVALUATION)
        share = members.get("accuracy_share")
        return cls(
            **_common(members),
            release=ReleaseId(members["release"]),
            bins=members.get("bins", DEFAULT_BINS),
            accuracy_share=DEFAULT_ACCURACY_SHARE if share is None else Share.parse(share),
        )


JobSpec: TypeAlias = TrainingSpec | EvaluationSpec


def read_spec(body: Any) -> JobSpec:
    """Read a request of either kind in its final form; raise `InvalidError` otherwise."""
    kind = body.get("kind") if isinstance(body, Mapping) else None
    match one_of(JobKind, kind, "kind"):
        case JobKind.TRAINING:
            return TrainingSpec.from_json(body)
        case _:
            return EvaluationSpec.from_json(body)


def read_spec_bytes(data: bytes) -> JobSpec:
    """Read JSON; raise `InvalidError` or `TooLargeError`."""
    return read_spec(canonical.decode(data, limit=LIMIT))


def complete_training(body: Any, schema: TableSchema, facts: DeclaredFacts) -> TrainingSpec:
    """Fill in what a trainer left out of a training request.

    Args:
        body: The members of the final form, of which only `dataset`, `purpose` and `epsilon` are needed, and either
            `features` or, in their place, `label`: the name of the column to predict. `recipe` may be partial and may
            have `expected_batch` in place of `sampling_rate`.
        schema: The dataset's declared schema.
        facts: The population's declared facts.

    Returns:
        The final form, which fits the schema.

    Raises:
        InvalidError: A member that is unknown, missing or out of range.
        TooLargeError: The model is too large.
    """
    members = _members(body, ("dataset", "purpose", "epsilon"), ("v", "kind", "model", "features", "label", *_FILLED))
    _check_head({"v": VERSION, "kind": JobKind.TRAINING.value, **members}, JobKind.TRAINING)
    features = _complete_features(members, schema)
    common = _common(members)
    target = features.label.target
    model = complete_model(members.get("model"), features, schema)
    base = default_recipe(model, common["epsilon"], facts)
    loss = members.get("loss", _LOSS_OF[target].value)
    spec = TrainingSpec(
        **common,
        model=model,
        features=features,
        loss=one_of(Loss, loss, "loss"),
        recipe=_complete_recipe(members.get("recipe", {}), base, facts),
    )
    spec.model_graph(schema)
    return spec


_COMMON: Final = ("dataset", "purpose", "epsilon")
_FILLED: Final = ("loss", "recipe")
_TRAINING_MEMBERS: Final = ("v", "kind", *_COMMON, "model", "features", "loss", "recipe")
_EVALUATION_MEMBERS: Final = ("v", "kind", *_COMMON, "release")
_RECIPE_MEMBERS: Final = tuple(Recipe.__dataclass_fields__)


def _complete_features(members: Mapping[str, Any], schema: TableSchema) -> FeatureSpec:
    if ("features" in members) == ("label" in members):
        raise InvalidError("give either `features` or `label`, the name of the column to predict", field="label")
    if "features" in members:
        return FeatureSpec.from_json(members["features"])
    if not isinstance(members["label"], str):
        raise InvalidError("`label` must be the name of a column", field="label")
    return default_features(schema, members["label"])


def _complete_recipe(body: Any, base: Recipe, facts: DeclaredFacts) -> Recipe:
    if not isinstance(body, Mapping) or not set(body) <= {*_RECIPE_MEMBERS, "expected_batch"}:
        raise InvalidError("`recipe` may have " + ", ".join((*_RECIPE_MEMBERS, "expected_batch")), field="recipe")
    chosen = {name: value for name, value in body.items() if name != "expected_batch"}
    if "expected_batch" in body:
        if "sampling_rate" in body:
            raise InvalidError("give `sampling_rate` or `expected_batch`, not both", field="expected_batch")
        chosen["sampling_rate"] = str(rate_for_batch(_batch(body["expected_batch"]), facts))
    return _recipe(base.to_fields() | chosen)


def _batch(value: Any) -> Decimal:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise InvalidError("`expected_batch` must be a whole number or decimal text", field="expected_batch")
    return Parameter.of(value, "expected_batch").number


def _recipe(body: Any) -> Recipe:
    if not isinstance(body, Mapping) or set(body) != set(_RECIPE_MEMBERS):
        raise InvalidError("`recipe` has exactly the members " + ", ".join(_RECIPE_MEMBERS), field="recipe")
    return Recipe.from_fields(body)


def _check_epsilon(epsilon: Epsilon) -> None:
    if not 0 < epsilon.value <= LARGEST_EPSILON:
        raise InvalidError(f"`epsilon` must be above 0 and at most {LARGEST_EPSILON}", field="epsilon")


def _check_head(members: Mapping[str, Any], kind: JobKind) -> None:
    if members["v"] != VERSION or isinstance(members["v"], bool):
        raise InvalidError("this version reads requests with `v` 1", field="v")
    if members["kind"] != kind.value:
        raise InvalidError(f"`kind` must be {kind}", field="kind")


def _common(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": DatasetId(members["dataset"]),
        "purpose": Slug(members["purpose"]),
        "epsilon": Epsilon.parse(members["epsilon"]),
    }


def _members(body: Any, needed: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or not set(needed) <= set(body) <= {*needed, *optional}:
        also = f" and may have {', '.join(optional)}" if optional else ""
        raise InvalidError(f"a request needs {', '.join(needed)}{also}, nothing else", field="request")
    return body
