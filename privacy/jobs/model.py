"""The model of a request: a template with its choices, or a trainer's own graph with the values it starts from.

Rules
-----
1. A model is data with one canonical form. The request's digest binds the graph and the given values, byte for byte.
2. Given values are exactly those of the weights that start as `given`: finite float32 of the graph's shapes. They are
   checked where the job is requested, without a numerics library.
3. What a template needs to know of the data follows from the declared schema: an image's shape, a sequence's length, a
   vocabulary. What the trainer wrote is never replaced.
4. Whether a graph fits the features and the label is said with the graph's own shapes, never by guessing.

Form: docs/formats/job-spec.md, "Model".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import InitialRule, ModelGraph
from privacy.graph.templates import ModelChoice, Template
from privacy.jobs.features import FeatureSpec, Transform, tokens
from privacy.jobs.given import check_given
from privacy.jobs.labels import Target
from privacy.jobs.strict import bytes_of, members_of, text_from
from privacy.schema import Column, TableSchema

INITIAL_LIMIT = 4 * 2**20 + 2**17
INITIAL_FORMAT: Final = "privgate/initial/v1"
_DEFAULTS: Final = {Target.REAL: "linear", Target.BINARY: "logistic", Target.CLASSES: "softmax"}
_TARGETS: Final[dict[str, Target]] = {template: target for target, template in _DEFAULTS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChoice:
    """A trainer's own graph.

    Attributes:
        own: The graph.
        initial: The values of the weights that start as `given`, as safetensors; absent if none does.
    """

    own: ModelGraph
    initial: bytes | None = None

    def __post_init__(self) -> None:
        check_initial(self.own, self.initial)

    def graph(self, width: int, outputs: int) -> ModelGraph:  # noqa: ARG002 - whether it fits is `checked_model`'s
        """The graph itself, whatever the rows."""
        return self.own

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        body: dict[str, Any] = {"graph": self.own.to_json()}
        return body if self.initial is None else body | {"initial": text_from(self.initial)}


Model: TypeAlias = ModelChoice | GraphChoice


def check_initial(graph: ModelGraph, initial: bytes | None) -> None:
    """Hold given values to the weights that start as `given`; raise `InvalidError` naming the weight otherwise."""
    given = {weight.name: weight.shape for weight in graph.weights if weight.init.rule is InitialRule.GIVEN}
    if bool(given) != (initial is not None):
        raise InvalidError("give `initial` exactly when a weight starts as `given`", field="initial")
    if initial is not None:
        check_given(given, initial, {"format": INITIAL_FORMAT, "graph": str(graph.digest)})


def model_from_json(body: Any) -> Model:
    """Read a model in its final form; raise `InvalidError` or `TooLargeError` otherwise."""
    if not isinstance(body, Mapping) or "graph" not in body:
        return ModelChoice.from_json(body)
    members = members_of(body, "model", ("graph",), ("initial",))
    initial = bytes_of(members["initial"], "initial", INITIAL_LIMIT) if "initial" in members else None
    return GraphChoice(own=ModelGraph.from_json(members["graph"]), initial=initial)


def complete_model(body: Any, features: FeatureSpec, schema: TableSchema) -> Model:
    """Read a model in which what follows from the schema may be left out.

    Args:
        body: What the trainer wrote; nothing for the plain model of the label's kind.
        features: Complete; they fit the schema.
        schema: The dataset's declared schema.
    """
    if body is None:
        body = {"template": _DEFAULTS[features.label.target]}
    if isinstance(body, Mapping) and "graph" not in body:
        body = _from_schema(body.get("template"), features, schema) | dict(body)
    return model_from_json(body)


def checked_model(model: Model, width: int, outputs: int) -> CheckedGraph:
    """A model's graph on rows of `width` numbers, with `outputs` numbers for each, within every limit.

    Raises:
        InvalidError: The graph reads or gives another number of numbers.
        TooLargeError: The model is too large.
    """
    checked = check(model.graph(width, outputs))
    if checked.width != width:
        raise InvalidError(
            f"input `{checked.graph.inputs[0].name}` has {checked.width} numbers, but a row becomes {width}",
            field="inputs",
        )
    if checked.outputs != outputs:
        raise InvalidError(
            f"output `{checked.graph.outputs[0]}` has {checked.outputs} numbers, but the label needs {outputs}",
            field="outputs",
        )
    return checked


def check_target(model: Model, target: Target) -> None:
    """Raise `InvalidError` if the model is a template for another kind of target."""
    wanted = _TARGETS.get(model.template, target) if isinstance(model, ModelChoice) else target
    if isinstance(model, ModelChoice) and model.template is Template.GAM and target is Target.CLASSES:
        raise InvalidError("`gam` has one score: choose a label of two classes or a scaled one", field="template")
    if wanted is not target:
        raise InvalidError(
            f"this `template` is for a target of kind {wanted}, the label's is {target}: "
            "choose another template or label encoding",
            field="template",
        )


def initial_of(model: Model) -> bytes | None:
    """The given values that stand beside a model's graph."""
    return model.initial if isinstance(model, GraphChoice) else None


def _from_schema(template: Any, features: FeatureSpec, schema: TableSchema) -> dict[str, Any]:
    """What a template's choices are by the schema, where one column alone says so."""
    if len(features.columns) != 1 or features.extractor is not None:
        return {}
    (feature,) = features.columns
    column = schema.column(feature.column)
    if template == "cnn" and feature.transform is Transform.SCALE:
        return _image(column)
    if template == "transformer" and feature.transform is Transform.TOKENS:
        return {"length": column.elements, "vocabulary": tokens(column)}
    return {}


def _image(column: Column) -> dict[str, Any]:
    match column.shape:
        case (_, _):
            return {"image": [1, *column.shape]}
        case (_, _, _):
            return {"image": list(column.shape)}
        case _:
            return {}
