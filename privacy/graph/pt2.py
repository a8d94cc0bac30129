"""Reads a model that `torch.export.save` wrote (.pt2), without torch and without pickle. Needs numpy.

Rules
-----
1. `torch.export.load` is never called: it runs code from the file. This module reads a zip, JSON and raw numbers.
2. The batch is dimension 0 of the input. A node that would let one row see another is refused with its name and its
   aten target; so is everything that is not in the table of `pt2_ops`.
3. A refusal names the node and says what to do. It never repeats a value of the file.

Form of the result: docs/formats/model-graph.md. What is allowed and why: docs/MODELS.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from kernel.errors import CorruptError, InvalidError, TooLargeError
from privacy.graph.foreign import BATCH_DIM, OPEN_BATCH, Batched, Dim, Parameter
from privacy.graph.foreign_graph import ForeignModel, RowGraph, shown
from privacy.graph.pt2_archive import open_archive
from privacy.graph.pt2_calls import Reading, Value
from privacy.graph.pt2_ops import RULES
from privacy.graph.pt2_schema import Call, Program, Ref, SizeRef, read_program
from privacy.graph.pt2_weights import read_weights
from privacy.graph.spec import LARGEST_SIDE

LARGEST_BATCH = 2**20


def read_pt2(data: bytes) -> ForeignModel:
    """Read the bytes of a .pt2 file.

    Raises:
        CorruptError: Not such a file.
        InvalidError: Something in it is not allowed; the message names it.
        TooLargeError: More than a model may have.
    """
    archive = open_archive(data)
    program = read_program(archive)
    weights = read_weights(archive, set(program.parameters.values()))
    batch, dims = _input_dims(program)
    graph = RowGraph(program.input, tuple(dim.side for dim in dims[1:]))
    values: dict[str, Value] = {
        name: Parameter(name=parameter, array=weights[parameter]) for name, parameter in program.parameters.items()
    }
    values[program.input] = Batched(row=graph.input, dims=dims, index=program.whole)
    uses = Counter(ref for call in program.calls for ref in _refs(call))
    uses[program.output] += 1
    for call in program.calls:
        _run(call, values, graph, batch, uses)
    output = values.get(program.output)
    if not isinstance(output, Batched):
        raise InvalidError("the model's output does not depend on its input", field="model")
    try:
        return graph.finish(output, list(program.parameters.values()))
    except InvalidError as error:
        raise InvalidError(f"node `{shown(program.output)}`: {error.message}", field="model") from None


def _input_dims(program: Program) -> tuple[int, tuple[Dim, ...]]:
    """The batch size (an open one has a stand-in) and the input's dimensions."""
    if not program.sizes or any(size is None for size in program.sizes[1:]):
        raise InvalidError(
            "the input must have the batch as dimension 0, and only that may be open: export with"
            " `dynamic_shapes=({0: torch.export.Dim('batch')},)`",
            field="model",
        )
    first, *rest = program.sizes
    sides = [size for size in rest if size is not None]
    if any(not 1 <= side <= LARGEST_SIDE for side in sides) or (first is not None and not 1 <= first <= LARGEST_BATCH):
        raise TooLargeError(f"a side of the input has 1 to {LARGEST_SIDE} elements", field="model")
    return first or OPEN_BATCH, (BATCH_DIM, *(Dim(side) for side in sides))


def _refs(call: Call) -> Iterator[str]:
    for argument in call.arguments.values():
        for item in argument if isinstance(argument, tuple) else (argument,):
            if isinstance(item, Ref | SizeRef):
                yield item.name


def _run(call: Call, values: dict[str, Value], graph: RowGraph, batch: int, uses: Mapping[str, int]) -> None:
    where = f"node `{shown(call.name)}` ({shown(call.target)})"
    rule = RULES.get(call.target)
    if rule is None:
        raise InvalidError(
            f"{where}: this operation is not allowed, or not known to keep rows apart: docs/MODELS.md lists what is",
            field="model",
        )
    graph.at = call.name
    try:
        reading = Reading(call=call, values=values, graph=graph, batch=batch, uses=uses)
        results = rule(reading)
        reading.finish()
    except InvalidError as error:
        raise InvalidError(f"{where}: {error.message}", field="model") from None
    except TooLargeError as error:
        raise TooLargeError(f"{where}: {error.message}", field="model") from None
    if len(results) != len(call.results) or any(name in values for name in call.results):
        raise CorruptError(f"{where}: its results are malformed", field="model")
    values.update(zip(call.results, results, strict=True))
