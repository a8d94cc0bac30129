"""Reads an ONNX model. Needs onnx (extra `onnx`) and numpy.

Rules
-----
1. The batch is dimension 0 of the one input. A node that would let one row see another is refused with its name.
2. Nothing is run or fetched: the file's bytes are parsed, and operations of a closed table are translated.
3. An initialiser that meets rows is a learned parameter; shapes, axes and single numbers are constants.

Form of the result: docs/formats/model-graph.md. What is allowed and why: docs/MODELS.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from onnx import GraphProto, NodeProto

from kernel.errors import CorruptError, InvalidError, TooLargeError
from privacy.graph.foreign import BATCH_DIM, OPEN_BATCH, Batched, Parameter, Sizes
from privacy.graph.foreign_graph import ForeignModel, RowGraph, shown
from privacy.graph.onnx_calls import Reading, Value
from privacy.graph.onnx_file import OWN_DOMAINS, attributes_of, initializers_of, input_of, parsed
from privacy.graph.onnx_ops import RULES


def read_onnx(data: bytes) -> ForeignModel:
    """Read the bytes of an ONNX file.

    Raises:
        CorruptError: Not such a file.
        InvalidError: Something in it is not allowed; the message names it.
        TooLargeError: More than a model may have.
    """
    file, opset = parsed(data)
    values = initializers_of(file)
    inputs = [value for value in file.input if value.name not in values]
    if len(inputs) != 1 or len(file.output) != 1:
        raise InvalidError("the model must read one tensor, the rows, and give one", field="model")
    batch, dims, whole = input_of(inputs[0])
    graph = RowGraph(inputs[0].name, tuple(dim.side for dim in dims))
    parameters = _parameters(file, values)
    values[inputs[0].name] = Batched(row=graph.input, dims=(BATCH_DIM, *dims), index=whole)
    uses = Counter(name for node in file.node for name in node.input)
    uses[file.output[0].name] += 1
    for node in file.node:
        _run(node, values, graph, (batch or OPEN_BATCH, opset), uses)
    output = values.get(file.output[0].name)
    if not isinstance(output, Batched):
        raise InvalidError("the model's output does not depend on its input", field="model")
    try:
        return graph.finish(output, parameters)
    except InvalidError as error:
        raise InvalidError(f"output `{shown(file.output[0].name)}`: {error.message}", field="model") from None


def _parameters(file: GraphProto, values: Mapping[str, Value]) -> list[str]:
    return [tensor.name for tensor in file.initializer if isinstance(values[tensor.name], Parameter)]


def _run(
    node: NodeProto, values: dict[str, Value], graph: RowGraph, sizes: tuple[int, int], uses: Mapping[str, int]
) -> None:
    name = node.name or (node.output[0] if node.output else "")
    where = f"node `{shown(name)}` ({shown(node.op_type)})"
    graph.at = name
    try:
        results = _results(node, values, graph, sizes, uses)
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}", field="model") from None
    except TooLargeError as error:
        raise TooLargeError(f"{where}: {error.message}", field="model") from None
    if [bool(output) for output in node.output] != [True] or node.output[0] in values:
        raise CorruptError(f"{where}: it must give one result, under a new name", field="model")
    values[node.output[0]] = results


def _results(
    node: NodeProto, values: Mapping[str, Value], graph: RowGraph, sizes: tuple[int, int], uses: Mapping[str, int]
) -> Value:
    attributes = attributes_of(node)
    if node.domain not in OWN_DOMAINS or (node.op_type not in RULES and node.op_type != "Constant"):
        raise InvalidError(
            "this operation is not allowed, or not known to keep rows apart: docs/MODELS.md lists what is"
        )
    if node.op_type == "Constant":
        return _constant(node, attributes)
    reading = Reading(
        inputs=list(node.input),
        attributes=attributes,
        outputs=list(node.output),
        values=values,
        graph=graph,
        batch=sizes[0],
        opset=sizes[1],
        uses=uses,
    )
    (result,) = RULES[node.op_type](reading)
    reading.finish()
    return result


def _constant(node: NodeProto, attributes: Mapping[str, object]) -> Value:
    name, found = next(iter(attributes.items()), ("", None))
    if len(attributes) == 1 and not node.input:
        if name in ("value", "value_float") and isinstance(found, Sizes | float):
            return found
        if name == "value_int" and isinstance(found, int):
            return Sizes((found,), scalar=True)
        if name == "value_ints" and isinstance(found, tuple):
            return Sizes(found)
    raise InvalidError("a constant is a shape, an axis or a single number; arrays that are learned are initialisers")
