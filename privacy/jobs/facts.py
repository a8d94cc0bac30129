"""Declared facts: all that specs, plans and quotes may know about the people behind a dataset.

Rules
-----
1. Every fact was typed by the owner before any row was seen; none was counted. The size need not be true.
2. A batch is expected, never measured: rate x (1 - holdout share) x public size. It normalises the gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal

from kernel.amounts import Delta, Share
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.accounting.price import HIGHEST_ORDER, LEAST_ORDER
from privacy.budget.populations import LARGEST_SIZE, Population
from privacy.units import LARGEST_ROWS_PER_UNIT, PrivacyUnit

_EXACT = Context(prec=34)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredFacts:
    """What a population and a dataset declare.

    Attributes:
        public_size: About how many units; coarse.
        holdout_share: The part of them that never trains.
        rows_per_unit: The most rows of one unit.
        order: The population's order of prices.
        delta: The population's delta, at which a job's epsilon is stated.
    """

    public_size: int
    holdout_share: Share
    rows_per_unit: int
    order: int
    delta: Delta

    def __post_init__(self) -> None:
        whole(1, LARGEST_SIZE, public_size=self.public_size)
        whole(1, LARGEST_ROWS_PER_UNIT, rows_per_unit=self.rows_per_unit)
        whole(LEAST_ORDER, HIGHEST_ORDER, order=self.order)
        if self.holdout_share.value >= 1:
            raise InvalidError("`holdout_share` must leave units to train on: below 1", field="holdout_share")

    @classmethod
    def of(cls, population: Population, unit: PrivacyUnit, public_size: int | None = None) -> DeclaredFacts:
        """Collect them from a population and a dataset's unit; a home block may have a declared size of its own."""
        return cls(
            public_size=public_size or population.public_size,
            holdout_share=population.holdout_share,
            rows_per_unit=unit.rows_per_unit,
            order=population.budget.order,
            delta=population.budget.delta,
        )

    @property
    def training_units(self) -> Decimal:
        """About how many units train, by declaration."""
        return _EXACT.multiply(_EXACT.subtract(Decimal(1), self.holdout_share.value), Decimal(self.public_size))

    def expected_batch(self, sampling_rate: Parameter) -> Parameter:
        """About how many units a step samples, by declaration; exact unless it has more than 34 digits."""
        return Parameter(_EXACT.multiply(sampling_rate.number, self.training_units))
