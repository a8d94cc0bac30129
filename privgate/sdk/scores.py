"""What a client reads of an answer: for each of his rows what the model says, in the target's own terms."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from privacy.jobs.features import FeatureSpec
from privacy.jobs.labels import Encoding, Target
from privacy.release.inference import InferenceCertificate
from privacy.schema import TableSchema
from privacy.sealing.durable import private
from privgate.encoding import bounds_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """A model's scores of one's own rows; nobody else has seen either.

    Attributes:
        job, release: The job, and the release that its answer is.
        certificate: Of the answer, verified: who held the key, what the gateway saw, whose guarantee the model has.
        outputs: The model's numbers for each row, as `Model.outputs` gives them; `None` for a row without.
    """

    job: str
    release: str
    certificate: InferenceCertificate = field(repr=False)
    outputs: tuple[tuple[float, ...] | None, ...] = field(repr=False)
    features: FeatureSpec = field(repr=False)
    schema: TableSchema = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, of a model that tells several apart."""
        label = self.features.label
        return self.schema.column(label.column).categories if label.target is Target.CLASSES else ()

    @property
    def error(self) -> float:
        """What a score of size 1 may be off by, about."""
        precision = self.certificate.predicate.precision
        return float(precision.expected_error.number) * 2.0**precision.halvings

    @property
    def positive(self) -> str | None:
        """What `true` says of a row, if two classes are told apart: `ill = true`, `stage = late`, `age > 60`."""
        label = self.features.label
        if label.encoding is Encoding.THRESHOLD and label.above is not None:
            return f"{label.column} > {label.above}"
        return f"{label.column} = {label.category}" if label.encoding is Encoding.POSITIVE else None

    def predict(self, *, threshold: float = 0.5) -> list[Any]:
        """The prediction for each row, as `Model.predict` gives it."""
        return [None if numbers is None else self._said(numbers, threshold) for numbers in self.outputs]

    def table(self) -> tuple[list[str], list[list[Any]]]:
        """Header and rows: scores, of two classes the probability of the positive one, and the prediction.

        Numbers are rounded to what they may be off by; `outputs` has them as they are.
        """
        binary, places = self.positive is not None, _places(self.error)
        header = [
            *(self.classes or ("score",)),
            *((f"probability of {self.positive}",) if binary else ()),
            "prediction",
        ]
        rows: list[list[Any]] = []
        for numbers, said in zip(self.outputs, self.predict(), strict=True):
            if numbers is None:
                rows.append([None] * len(header))
                continue
            told = [*numbers, *((_chance(numbers[0]),) if binary else ())]
            rows.append([*(_rounded(number, places) for number in told), self._printed(said)])
        return header, rows

    def write(self, path: str | Path) -> Path:
        """Write the table as CSV for oneself alone, a line for each row; what is there is never overwritten."""
        header, rows = self.table()
        place = Path(path)
        with open(place, "x", encoding="utf-8", newline="", opener=private) as file:
            writer = csv.writer(file)
            writer.writerow(header)
            writer.writerows([_text(value) for value in row] for row in rows)
        return place

    def _printed(self, said: Any) -> Any:
        """A predicted number, rounded as its score is; anything else as it is."""
        label = self.features.label
        if label.encoding is not Encoding.SCALED:
            return said
        low, high = bounds_of(label, self.schema.column(label.column))
        return _rounded(said, _places(self.error * (high - low) / 2))

    def _said(self, numbers: Sequence[float], threshold: float) -> Any:
        if self.classes:
            return self.classes[numbers.index(max(numbers))]
        label = self.features.label
        if label.encoding is Encoding.SCALED:
            low, high = bounds_of(label, self.schema.column(label.column))
            return low + (numbers[0] + 1) / 2 * (high - low)
        return _chance(numbers[0]) >= threshold


def _chance(score: float) -> float:
    return 1 / (1 + math.exp(-min(max(score, -700.0), 700.0)))


def _places(error: float) -> int:
    """How many digits behind the point say something: the last one is the first that the error changes."""
    return max(0, -Decimal(str(error)).adjusted())


def _rounded(number: float, places: int) -> float:
    return round(number, places) + 0.0  # no minus before a zero


def _text(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    return str(value)
