"""Requests to train a model, in their final form, and how a trainer's short form becomes it.

Rules
-----
1. `complete_training` makes the final form: what a trainer leaves out follows from the schema and from declared facts.
2. The loss follows from the target; none can be uploaded.

Form: docs/formats/job-spec.md, "Training".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from kernel.amounts import Epsilon
from kernel.canonical import Digest, digest_of
from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import DatasetId, ReleaseId, Slug
from privacy.graph.check import CheckedGraph
from privacy.graph.templates import ModelChoice, Template
from privacy.jobs.additive import additive_features, check_additive
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec, default_features
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
from privacy.jobs.labels import Target
from privacy.jobs.model import Model, check_target, checked_model, complete_model, model_from_json
from privacy.jobs.recipe import Recipe, default_recipe, rate_for_batch
from privacy.jobs.strict import one_of
from privacy.schema import TableSchema


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
        rows: All units of the version, or those at home in its block alone, which charges no other block.
    """

    dataset: DatasetId
    purpose: Slug
    epsilon: Epsilon
    model: Model
    features: FeatureSpec
    loss: Loss
    recipe: Recipe
    rows: RowChoice = RowChoice.ALL

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon)
        target = self.features.label.target
        if self.loss is not _LOSS_OF[target]:
            raise InvalidError(f"`loss` must be {_LOSS_OF[target]} for a {target} target", field="loss")
        check_target(self.model, target)
        if isinstance(self.model, ModelChoice) and self.model.template is Template.GAM:
            check_additive(self.features)

    @property
    def kind(self) -> JobKind:
        """Training."""
        return JobKind.TRAINING

    @property
    def used_release(self) -> ReleaseId | None:
        """None: no released model is used."""
        return None

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
        body = {
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
        return with_rows(body, self.rows)

    @classmethod
    def from_json(cls, body: Any) -> TrainingSpec:
        """Read the final form; raise `InvalidError` otherwise."""
        members = members_of_request(body, MEMBERS, ("rows",))
        check_head(members, JobKind.TRAINING)
        return cls(
            **common_of(members),
            model=model_from_json(members["model"]),
            features=FeatureSpec.from_json(members["features"]),
            loss=one_of(Loss, members["loss"], "loss"),
            recipe=_recipe(members["recipe"]),
            rows=rows_of(members),
        )


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
    members = members_of_request(
        body, ("dataset", "purpose", "epsilon"), ("v", "kind", "model", "features", "label", "rows", *_FILLED)
    )
    check_head({"v": VERSION, "kind": JobKind.TRAINING.value, **members}, JobKind.TRAINING)
    features = _complete_features(members, schema)
    common = common_of(members)
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
        rows=rows_of(members),
    )
    spec.model_graph(schema)
    return spec


_FILLED: Final = ("loss", "recipe")
MEMBERS: Final = ("v", "kind", *COMMON, "model", "features", "loss", "recipe")
_RECIPE_MEMBERS: Final = tuple(Recipe.__dataclass_fields__)


def _complete_features(members: Mapping[str, Any], schema: TableSchema) -> FeatureSpec:
    if ("features" in members) == ("label" in members):
        raise InvalidError("give either `features` or `label`, the name of the column to predict", field="label")
    if "features" in members:
        return FeatureSpec.from_json(members["features"])
    if not isinstance(members["label"], str):
        raise InvalidError("`label` must be the name of a column", field="label")
    model = members.get("model")
    additive = isinstance(model, Mapping) and model.get("template") == Template.GAM.value
    return (additive_features if additive else default_features)(schema, members["label"])


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
