"""Figures of a noisy confusion matrix: accuracy, and of each class precision, recall, specificity and F1. Pure.

Rules
-----
1. The matrix has a row for each actual class and a column for each predicted one; every figure is a share of two sums
   over different cells, so that their noise is independent.
2. F1 is 2 TP over 2 TP + FP + FN. Given those rows, its two sums are one binomial draw, which gives its sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from privacy.evaluation.estimates import Ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """A noisy confusion matrix.

    Attributes:
        cells: Row by row: actual class by predicted class.
        classes: How many.
        deviation: Of the noise on each cell.
        rows_per_unit: The most rows of one unit.
    """

    cells: Sequence[int]
    classes: int
    deviation: float
    rows_per_unit: int

    def cell(self, actual: int, predicted: int) -> int:
        """How many rows of a class were predicted as another."""
        return self.cells[actual * self.classes + predicted]

    def accuracy(self) -> Ratio:
        """The share of rows on the diagonal."""
        right = sum(self.cell(one, one) for one in range(self.classes))
        return self._ratio(right, sum(self.cells) - right, self.classes, self.classes**2 - self.classes)

    def figures(self, of: int) -> dict[str, Ratio]:
        """The figures of one class against all others."""
        hits, others = self.cell(of, of), self.classes - 1
        missed = sum(self.cell(of, other) for other in range(self.classes)) - hits
        false = sum(self.cell(other, of) for other in range(self.classes)) - hits
        rest = sum(self.cells) - hits - missed - false
        return {
            "precision": self._ratio(hits, false, 1, others),
            "recall": self._ratio(hits, missed, 1, others),
            "specificity": self._ratio(rest, false, others**2, others),
            # Doubled, the noise of one cell has the variance of four.
            "f1": self._ratio(2 * hits, missed + false, 4, 2 * others, rows=2 * (hits + missed + false)),
        }

    def predicted(self, of: int) -> Ratio:
        """The share of rows that are predicted as a class."""
        into = sum(self.cell(actual, of) for actual in range(self.classes))
        return self._ratio(into, sum(self.cells) - into, self.classes, self.classes**2 - self.classes)

    def _ratio(self, above: int, beside: int, above_cells: int, beside_cells: int, rows: float | None = None) -> Ratio:
        noise = self.deviation**2
        return Ratio(
            above=above,
            beside=beside,
            above_noise=above_cells * noise,
            beside_noise=beside_cells * noise,
            rows_per_unit=self.rows_per_unit,
            rows=rows,
        )
