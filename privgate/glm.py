"""Released generalised linear models: the table that people publish, worked out again before it is shown.

Rules
-----
1. A released file is recomputed from its noisy sums before a figure of it is shown.
2. Intervals include sampling and privacy noise, at 95 %; nobody needs to add anything.

Form: docs/formats/glm.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from privacy.glm.report import read_glm

RATIOS: Final[Mapping[str, str]] = {"logistic": "odds_ratio", "poisson": "rate_ratio"}
_HEAD = ("family", "outcome", "counted", "count", "confidence", "table")
DROWNED = "The noise drowned this model: no number would be honest. Ask for more epsilon, or for fewer predictors."


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One coefficient, in its column's own unit; amounts are decimal text.

    Attributes:
        term: What it belongs to.
        coefficient, standard_error, low, high: The estimate with its error and the ends of its interval.
        noise_share: The part of the squared error that is known to be privacy noise: noise also makes the rest larger.
        p_value: Of the hypothesis that it is zero; none for an intercept.
        ratio: The odds ratio or rate ratio with `value`, `low` and `high`; none for an intercept and a linear model.
    """

    term: str
    coefficient: str
    standard_error: str
    low: str
    high: str
    noise_share: str
    p_value: str | None = None
    ratio: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class GlmTable:
    """A released model; `print` shows it as other programs show theirs.

    Attributes:
        family, outcome: Which model, of what.
        count: How many of those who are protected took part, with noise; how many rows, where rows count.
        lines: One for each coefficient, the intercept first; empty if the noise drowned the model.
        body: The file as it was released.
    """

    family: str
    outcome: str
    count: int
    lines: tuple[Line, ...]
    body: Mapping[str, Any] = field(repr=False)

    @classmethod
    def read(cls, data: bytes) -> GlmTable:
        """Read a released file; raise `InvalidError` if its table does not follow from its noisy sums."""
        body = read_glm(data)
        ratio = RATIOS.get(body["family"], "")
        lines = tuple(line_of(dict(line), ratio) for line in body["table"] or ())
        return cls(body["family"], body["outcome"], body["count"], lines, body)

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, term: str) -> Line:
        return next(line for line in self.lines if line.term == term)

    @property
    def title(self) -> str:
        """Which model, of what, on about how many."""
        return f"{self.family} model of {self.outcome}, about {self.count} {self._counted}"

    @property
    def _counted(self) -> str:
        """Records have one row each: where there may be more, the unit is a column, so a person or the like."""
        if self.body["counted"] == "row":
            return "rows"
        return "people" if self.body["rows_per_unit"] > 1 else "people or records"

    @property
    def drowned(self) -> str | None:
        """What is said where there is no table; nothing where there is one."""
        return None if self.lines else DROWNED

    @property
    def exact(self) -> bool:
        """Whether no noise was added: a model of one table always has some."""
        return False

    @property
    def legend(self) -> str:
        """What stands under the table: what the errors include, and how much of them is noise."""
        return self._with_noise()

    def _with_noise(self) -> str:
        shares = sorted(float(line.noise_share) for line in self.lines)
        least, most = (f"{share:.0%}" for share in (shares[0], shares[-1]))
        part = most if least == most else f"{least} to {most}"
        return (
            "Errors and intervals (95 %) include sampling and privacy noise. noise: the part of the squared error that "
            f"is known to be noise, here {part}. The rest is the sampling error as estimated from noisy sums, which "
            "noise makes too large, most of all where people have several rows: without privacy it may be much less."
        )

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the cells."""
        ratio = {"logistic": ("odds ratio", "95 %"), "poisson": ("rate ratio", "95 %")}.get(self.family, ())
        return ("", "coefficient", "std. error", "low", "high", "p", *ratio, *(() if self.exact else ("noise",)))

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells of each line, as text."""
        return tuple(self._cells(line) for line in self.lines)

    def to_fields(self) -> dict[str, Any]:
        """What machines read: the table without the sums."""
        return {name: self.body[name] for name in _HEAD}

    def __str__(self) -> str:
        if self.drowned:
            return f"{self.title}\n{self.drowned}"
        rows = [self.header, *self.rows]
        widths = [max(len(row[place]) for row in rows) for place in range(len(self.header))]
        table = ["  ".join(_padded(row, widths)) for row in rows]
        return "\n".join([self.title, "", table[0], "-" * len(table[0]), *table[1:], "", self.legend])

    def _repr_html_(self) -> str:
        from privgate.sdk import html

        return html.table(f"{self.family} model of {self.outcome}", self.header, self.rows)

    def _cells(self, line: Line) -> tuple[str, ...]:
        cells = [line.term, line.coefficient, line.standard_error, line.low, line.high, _p_value(line.p_value)]
        if self.family in RATIOS:
            ratio = line.ratio
            cells += ["", ""] if ratio is None else [ratio["value"], f"{ratio['low']} to {ratio['high']}"]
        return tuple(cells) if self.exact else (*cells, f"{float(line.noise_share):.0%}")


def line_of(body: dict[str, Any], ratio: str) -> Line:
    """A line of a file; its ratio, if the family has one, stands there under this name."""
    return Line(ratio=body.pop(ratio, None), **body)


def _p_value(written: str | None) -> str:
    if written is None:
        return ""
    return "<0.001" if float(written) < 0.001 else f"{float(written):.3f}"


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
