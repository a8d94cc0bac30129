"""Foreign operations that move numbers: reshaping, turning, cutting, joining, within a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kernel.errors import InvalidError
from privacy.graph.foreign import Batched, Dim, from_zero, own_dim, regrouped, row_axis
from privacy.graph.foreign_graph import RowGraph
from privacy.graph.foreign_ops import rows

WHOLE_DIMENSION = 2**31 - 1


def reshaped(value: Batched, sizes: Sequence[int], batch: int) -> Batched:
    """Other dimensions, the same numbers in the same order."""
    return replace(value, dims=regrouped(value.dims, sizes, batch), bare=False)


def flattened(value: Batched, start: int, end: int, batch: int) -> Batched:
    """Merge the dimensions from `start` to `end`."""
    count = len(value.dims)
    first, last = from_zero(count, start), from_zero(count, end)
    if first > last:
        raise InvalidError("it flattens from a later to an earlier dimension")
    sizes = [dim.size(batch) for dim in value.dims]
    merged = 1
    for size in sizes[first : last + 1]:
        merged *= size
    return reshaped(value, [*sizes[:first], merged, *sizes[last + 1 :]], batch)


def unflattened(value: Batched, dim: int, sizes: Sequence[int], batch: int) -> Batched:
    """Take one dimension apart."""
    place = from_zero(len(value.dims), dim)
    old = [dim.size(batch) for dim in value.dims]
    if -1 in sizes:
        known = 1
        for size in sizes:
            known *= abs(size)
        sizes = [max(1, old[place] // max(1, known)) if size == -1 else size for size in sizes]
    return reshaped(value, [*old[:place], *sizes, *old[place + 1 :]], batch)


def permuted(graph: RowGraph, value: Batched, order: Sequence[int]) -> Batched:
    """The dimensions in another order."""
    count = len(value.dims)
    places = [from_zero(count, place) for place in order]
    if sorted(places) != list(range(count)):
        raise InvalidError("it does not name each dimension once")
    # Sides of 1 hold no order: without them most turns of the batch are none for a row.
    real = [place for place, dim in enumerate(value.dims) if dim.side > 1]
    shape = tuple(value.dims[place].side for place in real)
    turned = [real.index(place) for place in places if place in real]
    dims = tuple(value.dims[place] for place in places)
    if turned == sorted(turned):
        return replace(value, dims=dims, bare=False)
    row = graph.permute(graph.reshape(value.row, shape), turned)
    return Batched(row=row, dims=dims, index=value.index)


def unsqueezed(value: Batched, dim: int) -> Batched:
    """One more dimension, of size 1."""
    place = from_zero(len(value.dims) + 1, dim)
    return replace(value, dims=(*value.dims[:place], Dim(1), *value.dims[place:]), bare=False)


def squeezed(value: Batched, dim: int) -> Batched:
    """One dimension of size 1 fewer."""
    place = own_dim(value, dim, "drops a dimension")
    if value.dims[place].side != 1:
        return value
    return replace(value, dims=(*value.dims[:place], *value.dims[place + 1 :]), bare=False)


def cut(graph: RowGraph, value: Batched, dim: int, start: int | None, stop: int | None, step: int = 1) -> Batched:
    """What lies between two places along one dimension."""
    place = from_zero(len(value.dims), dim)
    if (start or 0) == 0 and (stop is None or stop >= WHOLE_DIMENSION) and step == 1:
        return value
    own_dim(value, dim, "takes some rows")
    if step != 1:
        raise InvalidError("it leaves out places between: slices take every place (step 1)")
    side = value.dims[place].side
    first, last, _ = slice(start, stop).indices(side)
    if first >= last:
        raise InvalidError("it takes nothing")
    if (first, last) == (0, side):
        return value
    row = rows(graph, replace(value, index=False))
    row = graph.add("slice", (row,), axis=row_axis(value.dims, place), start=first, stop=last)
    dims = (*value.dims[:place], Dim(last - first), *value.dims[place + 1 :])
    return Batched(row=row, dims=dims, index=value.index)


def selected(graph: RowGraph, value: Batched, dim: int, index: int) -> Batched:
    """One place along one dimension, which is dropped."""
    place = own_dim(value, dim, "takes one row")
    side = value.dims[place].side
    at = from_zero(side, index)
    return squeezed(cut(graph, value, place, at, at + 1), place)


def split(graph: RowGraph, value: Batched, dim: int, sides: Sequence[int]) -> list[Batched]:
    """Parts of these sides, one after the other."""
    place = own_dim(value, dim, "splits")
    if sum(sides) != value.dims[place].side or any(side < 1 for side in sides):
        raise InvalidError("the parts of a split do not add up to the whole")
    ends = [sum(sides[: number + 1]) for number in range(len(sides))]
    return [cut(graph, value, place, end - side, end) for side, end in zip(sides, ends, strict=True)]


def joined(graph: RowGraph, values: Sequence[Batched], dim: int) -> Batched:
    """Values one after the other along one dimension."""
    if len(values) < 2:
        raise InvalidError("it joins fewer than two values")
    place = own_dim(values[0], dim, "joins values")
    first = values[0].dims
    rest = [(*value.dims[:place], *value.dims[place + 1 :]) for value in values]
    if any(len(value.dims) != len(first) for value in values) or any(other != rest[0] for other in rest):
        raise InvalidError("joined values have the same sizes everywhere else")
    side = sum(value.dims[place].side for value in values)
    row = graph.add("concat", [rows(graph, value) for value in values], axis=row_axis(first, place))
    return Batched(row=row, dims=(*first[:place], Dim(side), *first[place + 1 :]))
