"""Released models on the trainer's own machine: from verified bytes to predictions, with the base install alone.

Rules
-----
1. A model is opened only with the graph and the features that its certificate names; anything else is refused.
2. A row is encoded as the gateway encodes rows (docs/formats/features.md): values outside their bounds move to the
   nearer one. A row with a value that is missing, unlisted or not finite gets no prediction: `None` stands for it.
3. Standard library only. `to_torch` is for whoever wants the model in torch, and says which extra that needs.
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
from privacy.jobs.labels import Encoding
from privacy.jobs.spec import TrainingSpec
from privacy.schema import TableSchema
from privgate.encoding import RowEncoder

FORMAT: Final = "privgate/weights/v1"
HEADER_LIMIT = 1 << 20
_GELU_SCALE: Final = math.sqrt(2 / math.pi)

Row: TypeAlias = Mapping[str, Any]
Vector: TypeAlias = "list[float]"


@dataclass(frozen=True, slots=True)
class Model:
    """A released model with its weights; build one with `open`, or with `release.fetch().model()`."""

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
        spec = TrainingSpec.from_json(request)
        checked = spec.model_graph(schema)
        if graph not in (None, checked.graph.digest) or features not in (None, spec.features.digest):
            raise InvalidError("the certificate names another model graph or other features", field="request")
        return cls(spec, schema, checked, read_weights(artifact, checked))

    def scores(self, rows: Iterable[Row]) -> list[float | None]:
        """The model's output for each row: log-odds of a binary target, or the target scaled to [-1, 1]."""
        encoder = RowEncoder(self.spec.features, self.schema)
        run = _Forward(self.graph, self.weights)
        encoded = map(encoder.encode, rows)
        return [None if numbers is None else _finite(run(numbers)) for numbers in encoded]

    def probabilities(self, rows: Iterable[Row]) -> list[float | None]:
        """The probability of the positive class for each row."""
        self._require_binary()
        return [None if score is None else _sigmoid(score) for score in self.scores(rows)]

    def predict(self, rows: Iterable[Row], *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each row: the target's column in its own terms.

        A binary target gives `True` where the probability of the positive class is at least `threshold`; a scaled one
        gives a number in the target's own unit. A row that cannot be scored gives `None`.
        """
        if self.spec.features.label.encoding is Encoding.SCALED:
            low, high = self._target_bounds()
            return [None if s is None else low + (s + 1) / 2 * (high - low) for s in self.scores(rows)]
        return [None if p is None else p >= threshold for p in self.probabilities(rows)]

    def targets(self, rows: Iterable[Row]) -> list[float | None]:
        """The target of each labelled row: 1 or 0, or the scaled number; `None` where it is missing or unlisted."""
        encoder = RowEncoder(self.spec.features, self.schema)
        return [encoder.target(row) for row in rows]

    def evaluate(self, rows: Sequence[Row]) -> dict[str, float]:
        """Accuracy and AUC on the trainer's own labelled rows; rows that cannot be scored count as wrong.

        Raises:
            InvalidError: The target is not binary, or a class does not occur.
        """
        self._require_binary()
        pairs = [(score, target) for score, target in zip(self.scores(rows), self.targets(rows), strict=True)]
        known = [(score, target) for score, target in pairs if target is not None]
        scored = [(score, target) for score, target in known if score is not None]
        right = sum((score >= 0) == (target == 1) for score, target in scored)
        return {"rows": len(known), "scored": len(scored), "accuracy": right / max(1, len(known)), "auc": _auc(scored)}

    def to_torch(self) -> Any:
        """The model as a `torch.nn.Module` on encoded rows; raise `ExtraMissingError` without torch."""
        try:
            import numpy as np
            import torch

            from privacy.graph.torch_module import GraphModule
        except ImportError:
            from privgate.sdk.errors import ExtraMissingError

            raise ExtraMissingError("the model in torch", "train") from None
        shapes = {weight.name: weight.shape for weight in self.graph.graph.weights}
        arrays = {n: np.asarray(v, dtype=np.float32).reshape(shapes[n]) for n, v in self.weights.items()}
        return GraphModule(self.graph, arrays, torch.float32)

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
        return f"Model({self.spec.model.template}, {self.graph.width} numbers a row)"


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


class _Forward:
    """Runs a template's graph on one encoded row after another."""

    def __init__(self, model: CheckedGraph, weights: Mapping[str, array.array[float]]) -> None:
        self._graph = model.graph
        self._layers = {
            node.name: _layer([weights[name] for name in node.weights], model.graph.weight(node.weights[0]).shape[1])
            for node in model.graph.nodes
            if node.op == "linear"
        }

    def __call__(self, numbers: Vector) -> float:
        values: dict[str, Vector] = {self._graph.inputs[0].name: numbers}
        for node in self._graph.nodes:
            source = values[node.inputs[0]]
            layer = self._layers.get(node.name)
            if layer is not None:
                values[node.name] = [sum(map(mul, row, source), bias) for row, bias in layer]
            else:
                values[node.name] = list(map(_ELEMENTWISE[node.op], source))
        return values[self._graph.outputs[0]][0]


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


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
