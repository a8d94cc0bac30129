"""Released models on the trainer's own machine: from verified bytes to predictions.

Rules
-----
1. A model is opened only with the graph and the features that its certificate names; anything else is refused.
2. A row is encoded as the gateway encodes rows (docs/formats/features.md): values outside their bounds move to the
   nearer one. A row with a value that is missing, unlisted or not finite gets no prediction: `None` stands for it.
3. Regressions and perceptrons need the standard library alone. Convolutions, attention and extractors need numpy, and
   `to_torch` needs torch: each says which extra that is.
4. Arithmetic is float64 on float32 weights: the figures agree with the gateway's to float32's precision.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Any, Final, TypeAlias

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import CorruptError, InvalidError, UnavailableError
from privacy.graph.check import CheckedGraph
from privacy.graph.spec import Weight
from privacy.graph.templates import ModelChoice
from privacy.jobs.labels import Encoding, Target
from privacy.jobs.spec import TrainingSpec, TuningSpec, read_spec
from privacy.schema import TableSchema
from privgate.encoding import RowEncoder, rows_of

FORMAT: Final = "privgate/weights/v1"
HEADER_LIMIT = 1 << 20
_GELU_SCALE: Final = math.sqrt(2 / math.pi)

Row: TypeAlias = Mapping[str, Any]
Vector: TypeAlias = "list[float]"


@dataclass(frozen=True, slots=True)
class Model:
    """A released model with its weights; build one with `open`, or with `release.fetch().scorer()`."""

    spec: TrainingSpec
    schema: TableSchema
    graph: CheckedGraph
    weights: Mapping[str, array.array[float]]

    @classmethod
    def open(
        cls,
        artifact: bytes,
        request: Mapping[str, Any],
        schema: TableSchema,
        *,
        graph: Digest | None = None,
        features: Digest | None = None,
    ) -> Model:
        """Open a model.

        Args:
            artifact: The verified `model.safetensors`.
            request: The job's request in its final form.
            schema: The dataset's declared schema.
            graph: The graph's digest in the certificate.
            features: The features' digest in the certificate.

        Raises:
            InvalidError: Request, schema, weights and certificate do not belong together.
            CorruptError: The weights are malformed.
        """
        spec = _trained(request)
        checked = spec.model_graph(schema)
        if graph not in (None, checked.graph.digest) or features not in (None, spec.features.digest):
            raise InvalidError("the certificate names another model graph or other features", field="request")
        return cls(spec, schema, checked, read_weights(artifact, checked))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs, of a model that tells several apart."""
        label = self.spec.features.label
        return self.schema.column(label.column).categories if label.target is Target.CLASSES else ()

    def outputs(self, rows: Iterable[Row]) -> list[Vector | None]:
        """The model's numbers for each row: a score for each class, or one number; `None` where there are none."""
        features = self.spec.features
        encoded = map(RowEncoder(features, self.schema).encode, rows_of(rows))
        if features.extractor is None and _plain(self.graph):
            run = _Forward(self.graph, self.weights)
            return [None if numbers is None else _finite(run(numbers)) for numbers in encoded]
        try:
            from privgate.scoring import outputs_of
        except ImportError:
            from privgate.sdk.errors import ExtraMissingError

            raise ExtraMissingError("scoring with this model", "train") from None
        width = features.encoded_width(self.schema)
        return outputs_of(self.graph, self.weights, features, list(encoded), width)

    def scores(self, rows: Iterable[Row]) -> list[float | None]:
        """The model's one output for each row: log-odds of a binary target, or the target scaled to [-1, 1]."""
        if self.classes:
            raise InvalidError("this model has a score for each class: use `outputs`", field="label")
        return [None if numbers is None else numbers[0] for numbers in self.outputs(rows)]

    def probabilities(self, rows: Iterable[Row]) -> list[Any]:
        """For each row the probability of the positive class, or of each class by name; `None` without a score."""
        if self.classes:
            return [None if o is None else _softmax(self.classes, o) for o in self.outputs(rows)]
        self._require_binary()
        return [None if score is None else _sigmoid(score) for score in self.scores(rows)]

    def predict(self, rows: Iterable[Row], *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each row: the target's column in its own terms.

        A binary target gives `True` where the probability of the positive class is at least `threshold`; several
        classes give the name of the likeliest; a scaled target gives a number in its own unit. A row that cannot be
        scored gives `None`.
        """
        if self.classes:
            return [None if o is None else self.classes[o.index(max(o))] for o in self.outputs(rows)]
        if self.spec.features.label.encoding is Encoding.SCALED:
            low, high = self._target_bounds()
            return [None if s is None else low + (s + 1) / 2 * (high - low) for s in self.scores(rows)]
        return [None if p is None else p >= threshold for p in self.probabilities(rows)]

    def targets(self, rows: Iterable[Row]) -> list[float | None]:
        """The target of each labelled row: 1 or 0, a class's place, or the scaled number; `None` if missing."""
        encoder = RowEncoder(self.spec.features, self.schema)
        return [encoder.target(row) for row in rows_of(rows)]

    def evaluate(self, rows: Sequence[Row]) -> dict[str, float]:
        """Accuracy, and of two classes AUC, on the trainer's own labelled rows; what cannot be scored counts as wrong.

        Raises:
            InvalidError: The target is a number, or one of two classes does not occur.
        """
        rows = list(rows_of(rows))
        if self.classes:
            return self._evaluated_classes(rows)
        self._require_binary()
        pairs = [(score, target) for score, target in zip(self.scores(rows), self.targets(rows), strict=True)]
        known = [(score, target) for score, target in pairs if target is not None]
        scored = [(score, target) for score, target in known if score is not None]
        right = sum((score >= 0) == (target == 1) for score, target in scored)
        return {"rows": len(known), "scored": len(scored), "accuracy": right / max(1, len(known)), "auc": _auc(scored)}

    def _evaluated_classes(self, rows: Sequence[Row]) -> dict[str, float]:
        pairs = zip(self.outputs(rows), self.targets(rows), strict=True)
        known = [(outputs, target) for outputs, target in pairs if target is not None]
        scored = [(outputs, target) for outputs, target in known if outputs is not None]
        right = sum(outputs.index(max(outputs)) == target for outputs, target in scored)
        return {"rows": len(known), "scored": len(scored), "accuracy": right / max(1, len(known))}

    def to_torch(self) -> Any:
        """The model as a `torch.nn.Module` on encoded rows, float32, in eval mode.

        Raises:
            ExtraMissingError: Without torch.
        """
        try:
            import torch

            from privacy.graph.torch_module import GraphModule
            from privgate.scoring import arrays_of
        except ImportError:
            from privgate.sdk.errors import ExtraMissingError

            raise ExtraMissingError("the model in torch", "train") from None
        return GraphModule(self.graph, arrays_of(self.graph, self.weights), torch.float32).eval()

    def encoded(self, rows: Iterable[Row]) -> list[Vector | None]:
        """The numbers that the columns of each row become; `None` where a row cannot be read."""
        return list(map(RowEncoder(self.spec.features, self.schema).encode, rows_of(rows)))

    def with_weights(self, spec: TrainingSpec, graph: CheckedGraph, weights: Mapping[str, Any]) -> Model:
        """A model of the same columns with other weights, given as arrays."""
        return Model(
            spec, self.schema, graph, {name: array.array("f", value.tobytes()) for name, value in weights.items()}
        )

    def _require_binary(self) -> None:
        if self.spec.features.label.encoding is Encoding.SCALED:
            raise InvalidError("this model's target is a number, not a class: use `predict`", field="label")

    def _target_bounds(self) -> tuple[float, float]:
        label = self.spec.features.label
        column = self.schema.column(label.column)
        low, high = label.low or column.low, label.high or column.high
        if low is None or high is None:
            raise UnavailableError("the target has no bounds")
        return float(low.number), float(high.number)

    def __repr__(self) -> str:
        model = self.spec.model
        name = model.template.value if isinstance(model, ModelChoice) else "own graph"
        return f"Model({name}, {self.graph.width} numbers a row)"


def _trained(request: Mapping[str, Any]) -> TrainingSpec:
    """The training that made a model: the request, or a tuning's candidates, which share features and graph."""
    spec = read_spec(request)
    if isinstance(spec, TuningSpec):
        return spec.training
    if not isinstance(spec, TrainingSpec):
        raise InvalidError("this request does not make a model", field="request")
    return spec


def read_weights(data: bytes, model: CheckedGraph) -> dict[str, array.array[float]]:
    """Read safetensors of exactly this graph; format in docs/formats/model-graph.md, "Weights".

    Raises:
        CorruptError: Not such bytes.
        InvalidError: They belong to another graph, or a value is not finite.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(HEADER_LIMIT, len(data) - 8):
        raise CorruptError("the weights' header is truncated or too long")
    header = canonical.decode(data[8 : 8 + length], limit=HEADER_LIMIT)
    texts = header.pop("__metadata__", None) if isinstance(header, dict) else None
    if texts != {"format": FORMAT, "graph": str(model.graph.digest)}:
        raise InvalidError("these weights belong to another model graph", field="weights")
    # The writer is deterministic: names in order, no gaps. So the whole header follows from the graph.
    weights = sorted(model.graph.weights, key=lambda weight: weight.name)
    ends = [sum(4 * w.elements for w in weights[: place + 1]) for place in range(len(weights))]
    expected = {w.name: _entry(w, end) for w, end in zip(weights, ends, strict=True)}
    body = data[8 + length :]
    if header != expected or len(body) != ends[-1]:
        raise CorruptError("names, shapes or bytes of the weights differ from the graph's")
    return {w.name: _floats(body[end - 4 * w.elements : end]) for w, end in zip(weights, ends, strict=True)}


def _entry(weight: Weight, end: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": list(weight.shape), "data_offsets": [end - 4 * weight.elements, end]}


def _floats(data: bytes) -> array.array[float]:
    values = array.array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    if not all(map(math.isfinite, values)):
        raise InvalidError("weights are finite numbers", field="weights")
    return values


def _plain(model: CheckedGraph) -> bool:
    """Whether the graph has only layers on one vector and what stands between them."""
    return len(model.graph.inputs[0].shape) == 1 and all(
        node.op in _ELEMENTWISE or node.op == "linear" for node in model.graph.nodes
    )


class _Forward:
    """Runs a plain graph on one encoded row after another."""

    def __init__(self, model: CheckedGraph, weights: Mapping[str, array.array[float]]) -> None:
        self._graph = model.graph
        self._layers = {
            node.name: _layer([weights[name] for name in node.weights], model.graph.weight(node.weights[0]).shape[1])
            for node in model.graph.nodes
            if node.op == "linear"
        }

    def __call__(self, numbers: Vector) -> Vector:
        values: dict[str, Vector] = {self._graph.inputs[0].name: numbers}
        for node in self._graph.nodes:
            source = values[node.inputs[0]]
            layer = self._layers.get(node.name)
            if layer is not None:
                values[node.name] = [sum(map(mul, row, source), bias) for row, bias in layer]
            else:
                values[node.name] = list(map(_ELEMENTWISE[node.op], source))
        return values[self._graph.outputs[0]]


def _layer(weights: Sequence[array.array[float]], width: int) -> list[tuple[Vector, float]]:
    matrix = weights[0].tolist()
    rows = [matrix[start : start + width] for start in range(0, len(matrix), width)]
    biases = weights[1].tolist() if len(weights) == 2 else [0.0] * len(rows)
    return list(zip(rows, biases, strict=True))


def _sigmoid(value: float) -> float:
    small = math.exp(-abs(value))
    return 1 / (1 + small) if value >= 0 else small / (1 + small)


def _gelu(value: float) -> float:
    return 0.5 * value * (1 + math.tanh(_GELU_SCALE * (value + 0.044715 * value**3)))


_ELEMENTWISE: Final[Mapping[str, Callable[[float], float]]] = {
    "relu": lambda value: max(value, 0.0),
    "tanh": math.tanh,
    "sigmoid": _sigmoid,
    "gelu": _gelu,
}


def _finite(values: Vector) -> Vector | None:
    return values if all(map(math.isfinite, values)) else None


def _softmax(names: Sequence[str], scores: Vector) -> dict[str, float]:
    largest = max(scores)
    parts = [math.exp(score - largest) for score in scores]
    total = math.fsum(parts)
    return {name: part / total for name, part in zip(names, parts, strict=True)}


def _auc(scored: Sequence[tuple[float, float]]) -> float:
    """The chance that a positive row scores above a negative one; ties count half (Mann-Whitney)."""
    positives = sum(target == 1 for _, target in scored)
    negatives = len(scored) - positives
    if not positives or not negatives:
        raise InvalidError("AUC needs rows of both classes", field="rows")
    ranks, place, ordered = 0.0, 0, sorted(scored)
    while place < len(ordered):
        end = place
        while end < len(ordered) and ordered[end][0] == ordered[place][0]:
            end += 1
        ranks += sum(target == 1 for _, target in ordered[place:end]) * (place + end + 1) / 2
        place = end
    return (ranks - positives * (positives + 1) / 2) / (positives * negatives)
