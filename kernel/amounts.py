"""Exact amounts of privacy: Epsilon, Delta, Rdp.

Rules
-----
1. An amount is an exact decimal on a grid (1e-9; 1e-18 for delta), finite and not negative. No float ever becomes an
   amount without a stated direction: `up` for what is charged, `down` for what is allotted.
2. Sums and comparisons are exact. A result that would have to be rounded is an error, not a rounding.
3. The written form is plain decimal text without exponent or trailing zeros; it is what the log and certificates hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, Inexact, InvalidOperation
from typing import ClassVar, Self

from kernel.checks import decimal
from kernel.errors import InvalidError

_WRITTEN = re.compile(r"(?:0|[1-9][0-9]{0,11})(?:\.[0-9]{1,18})?")
_EXACT = Context(prec=60, traps=[Inexact, InvalidOperation])
# Nothing here may depend on the caller's context: a narrower one would round, or refuse, what is exact.
_WIDE = Context(prec=60, traps=[])
_LARGEST = Decimal(10) ** 12


@dataclass(frozen=True, order=True, slots=True)
class Amount:
    """Base of the amounts; use the subclasses. Comparison and sums only make sense within one subclass."""

    value: Decimal
    QUANTUM: ClassVar[Decimal] = Decimal("1e-9")

    def __post_init__(self) -> None:
        on_grid = (
            self.value.is_finite() and 0 <= self.value < _LARGEST and _WIDE.remainder(self.value, self.QUANTUM) == 0
        )
        if not on_grid:
            name = type(self).__name__
            raise InvalidError(f"{name} must be from 0 to 1e12 in steps of {self.QUANTUM}", field=name.lower())

    @classmethod
    def up(cls, value: Decimal | str | int) -> Self:
        """Round up to the grid: for what is charged, held or claimed."""
        return cls._rounded(value, ROUND_CEILING)

    @classmethod
    def down(cls, value: Decimal | str | int) -> Self:
        """Round down to the grid: for what is allotted or still available."""
        return cls._rounded(value, ROUND_FLOOR)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the written form; raise `InvalidError` for any other text."""
        if not isinstance(text, str) or _WRITTEN.fullmatch(text) is None:
            name = cls.__name__.lower()
            raise InvalidError(f"`{name}` must be plain decimal text such as 0.5", field=name)
        return cls(Decimal(text))

    @classmethod
    def zero(cls) -> Self:
        """Nothing."""
        return cls(Decimal(0))

    @classmethod
    def _rounded(cls, value: Decimal | str | int, rounding: str) -> Self:
        name = cls.__name__.lower()
        number = decimal(**{name: value})
        if not 0 <= number < _LARGEST:
            raise InvalidError(f"`{name}` must be from 0 to below 1e12", field=name)
        return cls(number.quantize(cls.QUANTUM, rounding=rounding, context=Context(prec=60)))

    def __add__(self, other: Self) -> Self:
        self._same_kind(other)
        return type(self)(_EXACT.add(self.value, other.value))

    def __sub__(self, other: Self) -> Self:
        self._same_kind(other)
        return type(self)(_EXACT.subtract(self.value, other.value))

    def __mul__(self, times: int) -> Self:
        return type(self)(_EXACT.multiply(self.value, Decimal(times)))

    def __str__(self) -> str:
        plain = format(self.value, "f")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain

    def _same_kind(self, other: object) -> None:
        if type(other) is not type(self):
            raise TypeError(f"cannot combine {type(self).__name__} and {type(other).__name__}")


@dataclass(frozen=True, order=True, slots=True)
class Epsilon(Amount):
    """The epsilon of an (epsilon, delta) statement."""


@dataclass(frozen=True, order=True, slots=True)
class Rdp(Amount):
    """Renyi divergence at the population's one order: the ledger's currency."""


@dataclass(frozen=True, order=True, slots=True)
class Delta(Amount):
    """The delta of an (epsilon, delta) statement."""

    QUANTUM: ClassVar[Decimal] = Decimal("1e-18")


@dataclass(frozen=True, order=True, slots=True)
class Share(Amount):
    """A part of a whole, from 0 to 1, such as a trainer's cap or the holdout."""

    def __post_init__(self) -> None:
        # slots=True makes a new class, so zero-argument super() would look for the old one.
        Amount.__post_init__(self)
        if self.value > 1:
            raise InvalidError("a share lies between 0 and 1", field="share")
