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
from typing import Any, ClassVar, Final

from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.graph.check import CheckedGraph
from privacy.graph.templates import ModelChoice, Template
from privacy.jobs.additive import additive_features, check_additive
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.features import FeatureSpec, default_features
from privacy.jobs.head import (
    COMMON,
    VERSION,
    HeadedSpec,
    JobKind,
    check_head,
    head_of,
    members_of_request,
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


def loss_for(target: Target) -> Loss:
    """The loss of a kind of target: there is one for each."""
    return _LOSS_OF[target]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSpec(HeadedSpec):
    """A request to train a model privately.

    Attributes:
        model: A template and its choices, or the trainer's own graph.
        features: How rows become numbers.
        loss: Of one row.
        recipe: The trainer's choices about the run.
    """

    kind: ClassVar[JobKind] = JobKind.TRAINING
    NEEDED: ClassVar[tuple[str, ...]] = ("model", "features", "loss", "recipe")

    model: Model
    features: FeatureSpec
    loss: Loss
    recipe: Recipe

    def model_graph(self, schema: TableSchema) -> CheckedGraph:
        """The model on this schema's rows, checked against every limit.

        Raises:
            InvalidError: The features do not fit the schema, or the model does not fit the features or the label.
            TooLargeError: The model is too large.
        """
        self.features.check(schema)
        return checked_model(self.model, self.features.width(schema), self.features.outputs(schema))

    def _check(self) -> None:
        target = self.features.label.target
        if self.loss is not _LOSS_OF[target]:
            raise InvalidError(f"`loss` must be {_LOSS_OF[target]} for a {target} target", field="loss")
        check_target(self.model, target)
        if isinstance(self.model, ModelChoice) and self.model.template is Template.GAM:
            check_additive(self.features)

    def _own_json(self) -> dict[str, Any]:
        return {
            "model": self.model.to_json(),
            "features": self.features.to_json(),
            "loss": self.loss.value,
            "recipe": self.recipe.to_fields(),
        }

    @classmethod
    def _own_of(cls, members: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "model": model_from_json(members["model"]),
            "features": FeatureSpec.from_json(members["features"]),
            "loss": one_of(Loss, members["loss"], "loss"),
            "recipe": _recipe(members["recipe"]),
        }


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
    members = members_of_request(body, COMMON, ("v", "kind", "model", "features", "label", "loss", "recipe", "rows"))
    check_head({"v": VERSION, "kind": JobKind.TRAINING.value, **members}, JobKind.TRAINING)
    features = _complete_features(members, schema)
    head = head_of(members)
    target = features.label.target
    model = complete_model(members.get("model"), features, schema)
    base = default_recipe(model, head["epsilon"], facts)
    loss = members.get("loss", _LOSS_OF[target].value)
    spec = TrainingSpec(
        **head,
        model=model,
        features=features,
        loss=one_of(Loss, loss, "loss"),
        recipe=_complete_recipe(members.get("recipe", {}), base, facts),
    )
    spec.model_graph(schema)
    return spec


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
