"""A model as an ONNX graph, from raw columns to probabilities. Needs onnx and numpy.

Rules
-----
1. What is written follows from features, schema, graph and stored weights alone, byte for byte.
2. A file is checked by ONNX's own checker, shapes included, before anybody gets it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, helper

from kernel.errors import InvalidError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.onnx_writer import ML, ML_OPSET, OPSET, OnnxWriter
from privacy.graph.to_onnx import StoredWeights, write_graph
from privacy.graph.weights import NamedArrays
from privacy.jobs.extractors import Scattering
from privacy.jobs.features import FeatureSpec
from privacy.jobs.labels import Target
from privacy.schema import TableSchema
from privgate.encoding import bounds_of
from privgate.export.columns import input_of, inputs_of, write_columns
from privgate.export.head import Answer, write_head
from privgate.export.scattering import write_scattering

IR_VERSION: Final = 9
NAME: Final = "privgate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """All that the answers of a file follow from."""

    features: FeatureSpec
    schema: TableSchema
    graph: CheckedGraph
    weights: StoredWeights

    @property
    def answer(self) -> Answer:
        """What the scores say."""
        label = self.features.label
        column = self.schema.column(label.column, "label")
        return Answer(
            target=label.target,
            classes=column.categories if label.target is Target.CLASSES else (),
            bounds=bounds_of(label, column) if label.target is Target.REAL else (-1.0, 1.0),
        )


def graph_of(scorer: Scorer) -> GraphProto:
    """Write the graph."""
    writer = OnnxWriter()
    columns = inputs_of(scorer.features, scorer.schema)
    encoded = write_columns(scorer.features, scorer.schema, writer)
    rows, alive = _extracted(scorer.features, encoded.numbers, encoded.alive, writer)
    if scorer.features.row_norm is not None:
        rows = _shortened(rows, float(scorer.features.row_norm.number), writer)
    scores = write_graph(scorer.graph, scorer.weights, writer, rows, "weights")
    outputs = write_head(scorer.answer, scores, alive, writer, {column.name for column in columns})
    inputs = [input_of(column) for column in columns]
    return helper.make_graph(writer.nodes, NAME, inputs, outputs, initializer=writer.arrays)


def model_of(graph: GraphProto, texts: Mapping[str, str]) -> ModelProto:
    """The file's content, checked.

    Raises:
        InvalidError: ONNX's checker refuses it.
    """
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, ML_OPSET)]
    model = helper.make_model(graph, producer_name=NAME, opset_imports=opsets, ir_version=IR_VERSION)
    helper.set_model_props(model, dict(texts))
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        raise InvalidError("ONNX's own checker refuses this model: please report it", field="model") from None
    return model


def _extracted(features: FeatureSpec, rows: str, alive: str, writer: OnnxWriter) -> tuple[str, str]:
    """What the extractor gives, if there is one; a row whose result is not finite is dead."""
    extractor = features.extractor
    if extractor is None:
        return rows, alive
    if isinstance(extractor, Scattering):
        found = write_scattering(extractor, writer, rows)
    else:
        weights = StoredWeights(values=NamedArrays.from_bytes(extractor.weights).arrays)
        found = write_graph(check(extractor.graph), weights, writer, rows, "extractor")
    unfit = writer.add("Or", writer.add("IsNaN", found), writer.add("IsInf", found))
    broken = writer.add("ReduceMax", writer.cast(unfit, onnx.TensorProto.INT32), writer.wholes(1), keepdims=1)
    whole = writer.add("Equal", broken, writer.constant(np.int32(0)))
    kept = writer.add("Where", whole, found, writer.floats(0))
    return kept, writer.add("And", alive, writer.add("Squeeze", whole, writer.wholes(1)))


def _shortened(rows: str, bound: float, writer: OnnxWriter) -> str:
    """Rows longer than the bound scaled down to it."""
    norm = writer.add("ReduceL2", rows, writer.wholes(1), keepdims=1)
    factor = writer.add("Div", writer.floats(bound), writer.add("Max", norm, writer.floats(bound)))
    return writer.add("Mul", rows, factor)
