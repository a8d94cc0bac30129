"""Values of a foreign model, where every array has a batch somewhere, told in terms of one row.

Rules
-----
1. Of every value it is known where the batch is. What would cut it, drop it, or mix what lies along it is refused;
   nothing is guessed from sizes that happen to fit.
2. An open batch size is a number too: a prime above every side, so that sizes computed from it (the `6 * batch` of a
   merged dimension) can be taken apart again in one way only.
3. The batch may be merged with sides of the row or stand elsewhere than first, as attention layers of other programs
   have it. What is left once one row is taken out is the same numbers in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from privacy.graph.spec import LARGEST_SIDE, Shape

OPEN_BATCH: Final = 2**61 - 1
MOST_DIMS = 8
Array: TypeAlias = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Dim:
    """One dimension of a foreign value.

    Attributes:
        before: Its side; of the dimension with the batch, the row's own sides that are merged in front of the batch.
        after: None; of the dimension with the batch, the row's own sides that are merged behind it.
    """

    before: int
    after: int | None = None

    @property
    def batch(self) -> bool:
        """Whether the batch is in it."""
        return self.after is not None

    @property
    def side(self) -> int:
        """What one row has of it."""
        return self.before * (self.after or 1)

    @property
    def pure(self) -> bool:
        """The batch and nothing else."""
        return self.batch and self.side == 1

    def size(self, batch: int) -> int:
        """Its size in the foreign value."""
        return self.side * batch if self.batch else self.side


Dims: TypeAlias = tuple[Dim, ...]
BATCH_DIM: Final = Dim(1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batched:
    """A value with a batch.

    Attributes:
        row: The value of one row in the graph that is being built; its numbers in the order of `dims`.
        dims: The foreign dimensions.
        index: It holds whole numbers and may only be looked up in an embedding.
        bare: It is the result of a linear layer without a bias, which may still be added.
    """

    row: str
    dims: Dims
    index: bool = False
    bare: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A learned array, perhaps turned or reshaped on the way to where it is used.

    Attributes:
        name: As the foreign model calls it.
        array: Its values, float32.
        undo: Steps that lead from `array` back to how the foreign model holds it.
    """

    name: str
    array: Array
    undo: tuple[tuple[str, Shape], ...] = ()

    def reshaped(self, shape: Sequence[int]) -> Parameter:
        """The same numbers in another shape."""
        undo = (("reshape", self.array.shape), *self.undo)
        return replace(self, array=np.ascontiguousarray(self.array).reshape(tuple(shape)), undo=undo)

    def permuted(self, order: Sequence[int]) -> Parameter:
        """Its sides in another order."""
        back = tuple(int(place) for place in np.argsort(order))
        return replace(self, array=self.array.transpose(tuple(order)), undo=(("permute", back), *self.undo))


def undone(array: Array, undo: Sequence[tuple[str, Shape]]) -> Array:
    """Take an array of the graph back to how the foreign model holds it."""
    for step, sides in undo:
        array = array.transpose(sides) if step == "permute" else np.ascontiguousarray(array).reshape(sides)
    return np.ascontiguousarray(array)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Whole numbers that are known while reading: sizes, one of which may be the batch's."""

    values: tuple[int, ...]
    scalar: bool = False


def row_shape(dims: Dims) -> Shape:
    """The shape of one row."""
    return tuple(dim.side for dim in dims if not dim.pure)


def row_axis(dims: Dims, dim: int) -> int:
    """Where a dimension without the batch stands in a row."""
    return sum(not other.pure for other in dims[:dim])


def from_zero(dims: int, dim: int) -> int:
    """A dimension counted from 0, where foreign models also count from the end."""
    if not -dims <= dim < dims:
        raise InvalidError("it names a dimension that its input does not have")
    return dim % dims


def own_dim(value: Batched, dim: int, what: str) -> int:
    """A dimension, counted from 0, that is the row's own; `what` says what would happen along it."""
    place = from_zero(len(value.dims), dim)
    if value.dims[place].batch:
        raise InvalidError(f"it {what} along the batch: what one row gives would then depend on other rows")
    return place


def first_is_batch(value: Batched, dims: Sequence[int], what: str) -> None:
    """Demand the batch as dimension 0, alone, and one of these numbers of dimensions."""
    if len(value.dims) not in dims or not value.dims[0].pure:
        wanted = " or ".join(str(count) for count in dims)
        raise InvalidError(f"{what} needs {wanted} dimensions, the first of them the batch and nothing else")


def regrouped(dims: Dims, sizes: Sequence[int], batch: int) -> Dims:
    """The dimensions after a reshape to `sizes`, of which one may be -1.

    Raises:
        InvalidError: The sizes do not fit, or the batch would be cut, dropped, or could be in two places.
    """
    if len(sizes) > MOST_DIMS:
        raise InvalidError(f"a value has at most {MOST_DIMS} dimensions")
    sizes = _resolved(sizes, math.prod(dim.size(batch) for dim in dims))
    if batch == 1:
        return _regrouped_alone(dims, sizes)
    place = next(place for place, dim in enumerate(dims) if dim.batch)
    start = math.prod(dim.side for dim in dims[:place]) * dims[place].before
    result, before = [], 1
    for size in sizes:
        if before <= start and start * batch <= before * size:
            result.append(_with_batch(before, size, start, batch))
        else:
            result.append(Dim(_side(size)))
        before *= size
    if sum(dim.batch for dim in result) != 1:
        raise InvalidError("this shape cuts the batch: keep it as a dimension, best the first")
    return tuple(result)


def _resolved(sizes: Sequence[int], total: int) -> tuple[int, ...]:
    known = math.prod(size for size in sizes if size != -1)
    if any(size < 1 for size in sizes if size != -1) or sum(size == -1 for size in sizes) > 1 or known == 0:
        raise InvalidError("a shape has sizes from 1, and at most one that is left open (-1)")
    full = tuple(total // known if size == -1 else size for size in sizes)
    if math.prod(full) != total:
        raise InvalidError("the shape and its input have different numbers of elements")
    return full


def _with_batch(before: int, size: int, start: int, batch: int) -> Dim:
    ahead, left = divmod(start, before)
    behind, rest = divmod(before * size, start * batch)
    if left or rest:
        raise InvalidError("this shape cuts the batch: keep it as a dimension, best the first")
    return Dim(_side(ahead), _side(behind))


def _regrouped_alone(dims: Dims, sizes: Sequence[int]) -> Dims:
    """With a batch of one, sizes do not tell where the batch is: it must stay the first dimension."""
    if not dims[0].pure or not sizes or sizes[0] != 1:
        raise InvalidError("with a batch of 1 a reshape must keep it as dimension 0: export with an open batch size")
    return (BATCH_DIM, *(Dim(_side(size)) for size in sizes[1:]))


def _side(size: int) -> int:
    if not 1 <= size <= LARGEST_SIDE:
        raise InvalidError(f"a side of a row has 1 to {LARGEST_SIDE} elements")
    return size
