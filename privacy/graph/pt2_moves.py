"""Rules of aten operations that move numbers: shapes, order, parts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from kernel.errors import InvalidError
from privacy.graph import foreign_ops as ops
from privacy.graph import foreign_shapes as shapes
from privacy.graph.foreign import Batched, Parameter, from_zero
from privacy.graph.pt2_calls import Counting, Reading, Rule, Value


def _view(name: str) -> Rule:
    def rule(r: Reading) -> Sequence[Value]:
        value, sizes = r.any("self"), r.sizes(name)
        if isinstance(value, Parameter):
            if -1 in sizes or math.prod(sizes) != value.array.size:
                raise InvalidError("a parameter is reshaped to plain sizes")
            return [value.reshaped(sizes)]
        return [shapes.reshaped(r.rows("self"), sizes, r.batch)]

    return rule


def _expand(r: Reading) -> Sequence[Value]:
    r.must_be("implicit", False)
    value, sizes = r.rows("self"), r.sizes("size")
    old = [dim.size(r.batch) for dim in value.dims]
    if len(sizes) != len(old) or any(size not in (-1, side) for size, side in zip(sizes, old, strict=True)):
        raise InvalidError("it repeats values: give them the full shape")
    return [value]


def _flatten(r: Reading) -> Sequence[Value]:
    return [shapes.flattened(r.rows("self"), r.whole("start_dim", 0), r.whole("end_dim", -1), r.batch)]


def _unflatten(r: Reading) -> Sequence[Value]:
    return [shapes.unflattened(r.rows("self"), r.whole("dim"), r.sizes("sizes"), r.batch)]


def _transpose(r: Reading) -> Sequence[Value]:
    found = r.any("self")
    count = len(found.dims) if isinstance(found, Batched) else found.array.ndim if isinstance(found, Parameter) else 0
    first, second = from_zero(count, r.whole("dim0")), from_zero(count, r.whole("dim1"))
    order = list(range(count))
    order[first], order[second] = second, first
    return [_turned(r, order)]


def _t(r: Reading) -> Sequence[Value]:
    found = r.any("self")
    if isinstance(found, Parameter) and found.array.ndim == 2:
        return [found.permuted((1, 0))]
    raise InvalidError("`.t()` is read on a parameter of two dimensions; on rows it would turn the batch")


def _permute(r: Reading) -> Sequence[Value]:
    return [_turned(r, r.wholes("dims"))]


def _turned(r: Reading, order: Sequence[int]) -> Value:
    found = r.any("self")
    if isinstance(found, Parameter):
        return found.permuted([from_zero(found.array.ndim, place) for place in order])
    return shapes.permuted(r.graph, r.rows("self"), order)


def _unsqueeze(r: Reading) -> Sequence[Value]:
    found, dim = r.any("self"), r.whole("dim")
    if isinstance(found, Counting):
        return [found] if dim == 0 else _no_rows()
    if isinstance(found, Parameter):
        place = from_zero(found.array.ndim + 1, dim)
        shape = found.array.shape
        return [found.reshaped((*shape[:place], 1, *shape[place:]))]
    return [shapes.unsqueezed(r.rows("self"), dim)]


def _squeeze(r: Reading) -> Sequence[Value]:
    return [shapes.squeezed(r.rows("self"), r.whole("dim"))]


def _slice(r: Reading) -> Sequence[Value]:
    start = r.whole("start", 0)
    stop = r.whole("end") if r.raw("end") is not None else None
    return [shapes.cut(r.graph, r.rows("self"), r.whole("dim", 0), start, stop, r.whole("step", 1))]


def _select(r: Reading) -> Sequence[Value]:
    return [shapes.selected(r.graph, r.rows("self"), r.whole("dim"), r.whole("index"))]


def _chunk(r: Reading) -> Sequence[Value]:
    value, dim, chunks = r.rows("self"), r.whole("dim", 0), r.whole("chunks")
    side = value.dims[from_zero(len(value.dims), dim)].side
    each = -(-side // max(1, chunks))
    return shapes.split(r.graph, value, dim, _parts(side, each))


def _split(r: Reading) -> Sequence[Value]:
    value, dim = r.rows("self"), r.whole("dim", 0)
    side = value.dims[from_zero(len(value.dims), dim)].side
    return shapes.split(r.graph, value, dim, _parts(side, r.whole("split_size")))


def _split_sizes(r: Reading) -> Sequence[Value]:
    return shapes.split(r.graph, r.rows("self"), r.whole("dim", 0), r.wholes("split_sizes"))


def _parts(side: int, each: int) -> list[int]:
    if each < 1 or side > 64 * each:
        raise InvalidError("it makes too many parts")
    return [min(each, side - start) for start in range(0, side, each)]


def _cat(r: Reading) -> Sequence[Value]:
    return [shapes.joined(r.graph, r.all_rows("tensors"), r.whole("dim", 0))]


def _roll(r: Reading) -> Sequence[Value]:
    moves, dims = r.wholes("shifts"), r.wholes("dims")
    if len(moves) != 1 or len(dims) != 1:
        raise InvalidError("it rolls along one dimension at a time, by name; without it would mix the rows")
    value = r.rows("self")
    axis = ops.along(value, dims[0], "rolls")
    shift = math.fmod(moves[0], value.dims[from_zero(len(value.dims), dims[0])].side)
    return [ops.elementwise(r.graph, "roll", value, axis=axis, shift=int(shift))]


def _flip(r: Reading) -> Sequence[Value]:
    value = r.rows("self")
    for dim in r.wholes("dims"):
        value = ops.elementwise(r.graph, "flip", value, axis=ops.along(value, dim, "flips"))
    return [value]


def _cumsum(r: Reading) -> Sequence[Value]:
    r.must_be("dtype")
    value = r.rows("self")
    return [ops.elementwise(r.graph, "cumsum", value, axis=ops.along(value, r.whole("dim"), "sums"))]


def _no_rows() -> NoReturn:
    raise InvalidError("it reads no rows")


MOVES: Final[Mapping[str, Rule]] = {
    "view.default": _view("size"),
    "reshape.default": _view("shape"),
    "expand.default": _expand,
    "flatten.using_ints": _flatten,
    "unflatten.int": _unflatten,
    "transpose.int": _transpose,
    "t.default": _t,
    "permute.default": _permute,
    "unsqueeze.default": _unsqueeze,
    "squeeze.dim": _squeeze,
    "slice.Tensor": _slice,
    "select.int": _select,
    "chunk.default": _chunk,
    "split.Tensor": _split,
    "split_with_sizes.default": _split_sizes,
    "cat.default": _cat,
    "roll.default": _roll,
    "flip.default": _flip,
    "cumsum.default": _cumsum,
}
