"""One node of a `torch.export` program while it is read: its arguments by name and kind.

Rules
-----
1. An argument that a rule did not ask for is refused: it would change what the operation does.
2. An argument of another kind than a rule asks for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from kernel.errors import InvalidError
from privacy.graph.foreign import Batched, Parameter, Sizes
from privacy.graph.foreign_graph import RowGraph, shown
from privacy.graph.pt2_schema import Argument, Call, Marker, Ref, SizeRef


@dataclass(frozen=True, slots=True)
class Counting:
    """The numbers from 0: what positions are looked up with."""

    count: int


Value: TypeAlias = Batched | Parameter | Sizes | Counting


@dataclass(slots=True, kw_only=True)
class Reading:
    """A call with what is known before it.

    Attributes:
        call: The node.
        values: Everything that earlier nodes gave.
        graph: The graph that is being built.
        batch: The batch's size, or its stand-in.
        uses: How often each value is read.
    """

    call: Call
    values: Mapping[str, Value]
    graph: RowGraph
    batch: int
    uses: Mapping[str, int]
    _asked: set[str] = field(default_factory=set)

    def finish(self) -> None:
        """Refuse arguments that nobody asked for."""
        for name in sorted(set(self.call.arguments) - self._asked):
            raise InvalidError(f"its argument `{shown(name)}` is not read: leave it out")

    def raw(self, name: str, default: Argument = None) -> Argument:
        """An argument as it stands; `default` where it is left out or None."""
        self._asked.add(name)
        found = self.call.arguments.get(name)
        return default if found is None else found

    def any(self, name: str) -> Value | bool | int | float | None:
        """A value or a number."""
        found = self.raw(name)
        if isinstance(found, Ref):
            return self._value(found)
        if isinstance(found, SizeRef):
            raise InvalidError("a size of the batch is used as a number: rows would depend on how many there are")
        if found is None or isinstance(found, bool | int | float):
            return found
        raise self._refusal(name, "a tensor or a number")

    def rows(self, name: str) -> Batched:
        """A value with a batch."""
        found = self.any(name)
        if not isinstance(found, Batched):
            raise self._refusal(name, "computed from the rows")
        return found

    def all_rows(self, name: str) -> list[Batched]:
        """A list of values with a batch."""
        found = self.raw(name)
        values = [self._value(ref) for ref in found if isinstance(ref, Ref)] if isinstance(found, tuple) else []
        batched = [value for value in values if isinstance(value, Batched)]
        if not isinstance(found, tuple) or len(batched) != len(found):
            raise self._refusal(name, "a list of values computed from the rows")
        return batched

    def parameter(self, name: str) -> Parameter:
        """A learned array."""
        found = self.any(name)
        if not isinstance(found, Parameter):
            raise self._refusal(name, "a parameter of the model")
        return found

    def parameters(self, *names: str) -> list[Parameter]:
        """The learned arrays among these arguments that are given: all, or from the first on."""
        given = [name for name in names if self.raw(name) is not None]
        if given != list(names[: len(given)]):
            raise InvalidError("it has an offset without a scale: give both or neither")
        return [self.parameter(name) for name in given]

    def whole(self, name: str, default: int | None = None) -> int:
        """A whole number."""
        found = self.raw(name, default)
        if not isinstance(found, int) or isinstance(found, bool):
            raise self._refusal(name, "a whole number")
        return found

    def wholes(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]:
        """A list of whole numbers."""
        found = self.raw(name, tuple(default))
        if not isinstance(found, tuple):
            raise self._refusal(name, "a list of whole numbers")
        items = [item for item in found if isinstance(item, int)]
        if len(items) != len(found):
            raise self._refusal(name, "a list of whole numbers")
        return tuple(items)

    def sizes(self, name: str) -> tuple[int, ...]:
        """A shape: whole numbers and sizes that were computed from the batch's."""
        found = self.raw(name, ())
        if not isinstance(found, tuple):
            raise self._refusal(name, "a shape")
        return tuple(self._size(item) for item in found)

    def size(self, name: str) -> int:
        """A size."""
        found = self.raw(name)
        if not isinstance(found, int | SizeRef) or isinstance(found, bool):
            raise self._refusal(name, "a size")
        return self._size(found)

    def number(self, name: str, default: float) -> float:
        """A number."""
        found = self.raw(name, default)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise self._refusal(name, "a number")
        return float(found)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        found = self.raw(name, default)
        if not isinstance(found, bool):
            raise self._refusal(name, "true or false")
        return found

    def dtype(self, name: str) -> int | None:
        """A dtype's number."""
        found = self.raw(name)
        if found is not None and (not isinstance(found, Marker) or found.kind != "dtype"):
            raise self._refusal(name, "a dtype")
        return None if found is None else found.value

    def must_be(self, name: str, *allowed: Argument) -> None:
        """Refuse an argument that has another value than these; None is always one of them."""
        found = self.raw(name)
        if found is not None and not any(type(found) is type(value) and found == value for value in allowed):
            raise InvalidError(f"its argument `{name}` is not at its usual value: leave it as it is")

    def ignore(self, *names: str) -> None:
        """Arguments that change no number."""
        self._asked.update(names)

    def alone(self) -> bool:
        """Whether the one result is read once."""
        return len(self.call.results) == 1 and self.uses.get(self.call.results[0], 0) == 1

    def sole_reader(self, value: Batched) -> bool:
        """Whether nobody else reads a value, under whichever name, whole or in part."""
        names = (name for name, v in self.values.items() if isinstance(v, Batched) and v.row == value.row)
        return self.graph.fresh(value.row) and all(self.uses.get(name, 0) <= 1 for name in names)

    def _value(self, ref: Ref) -> Value:
        if ref.name not in self.values:
            raise InvalidError("it reads a value that does not exist yet")
        return self.values[ref.name]

    def _size(self, item: int | SizeRef | Ref) -> int:
        if isinstance(item, int):
            return item
        found = self.values.get(item.name)
        if not isinstance(found, Sizes) or isinstance(item, Ref):
            raise InvalidError("a size is computed from values: shapes must not depend on rows")
        return found.values[0]

    def _refusal(self, name: str, kind: str) -> InvalidError:
        return InvalidError(f"its argument `{name}` must be {kind}")


Rule: TypeAlias = Callable[[Reading], Sequence[Value]]
