"""Results of jobs on data of sites, as people read them: coefficients, answers and covariances.

Rules
-----
1. A noised file is worked out again from its noisy sums before a figure of it is shown, and so are exact statistics.
   The exact model has no sums: its table is held to its plan.
2. An exact result is said to be one, and a noised one says whose noise is in it.
3. An interval stands where its file has one: exact answers have none, and no covariance has.

Form: docs/formats/he-glm.md, docs/formats/he-statistics.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kernel import canonical
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.homomorphic.glm import noised, report
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import FORMAT, LIMIT, added_deviation, read_statistics
from privacy.jobs.features import FeatureSpec
from privacy.jobs.measurements import layout
from privgate.glm import DROWNED, RATIOS, GlmTable, line_of
from privgate.statistics import Answer, Statistics

GLM_FILES: Final = ("glm.json", "he-glm.json")
STATISTICS_FILES: Final = ("statistics.json", "he-statistics.json")
_UNFIT: Final[Mapping[str, str]] = {
    "singular": "There is no fit: predictors say the same as each other, or the outcome can be told without a doubt.",
    "unfinished": "There is no fit: after the last round the coefficients still moved.",
}


def glm_of(data: bytes) -> GlmTable:
    """Read a released model, of the gateway's rows or of sites; raise `InvalidError` if its table does not hold."""
    match _format(data, report.LIMIT):
        case report.FORMAT:
            return SitesGlm.of(report.read_glm(data))
        case noised.FORMAT:
            return SitesGlm.of(noised.read_noised_glm(data))
        case _:
            return GlmTable.read(data)


def statistics_of(data: bytes) -> Statistics:
    """Read released statistics, of the gateway's rows or of sites; raise `InvalidError` if an answer does not hold."""
    return SitesStatistics.of(read_statistics(data)) if _format(data, LIMIT) == FORMAT else Statistics.read(data)


def _format(data: bytes, limit: int) -> Any:
    """What a file says that it is; nothing where it is too large, for its own reader to refuse."""
    if len(data) > limit:
        return None
    body = canonical.decode(data, limit=limit)
    return body.get("format") if isinstance(body, Mapping) else None


@dataclass(frozen=True, slots=True)
class SitesGlm(GlmTable):
    """A released model of several sites."""

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> SitesGlm:
        """Show a file that was read."""
        plan = body["plan"]
        ratio = RATIOS.get(plan["family"], "")
        lines = tuple(line_of({"noise_share": "0", **line}, ratio) for line in body["table"] or ())
        outcome = FeatureSpec.from_json(plan["features"]).label.column
        return cls(plan["family"], outcome, body.get("count", body.get("rows")) or 0, lines, body)

    @property
    def exact(self) -> bool:
        """Whether no noise was added."""
        return bool(self.body["format"] == report.FORMAT)

    @property
    def title(self) -> str:
        """Which model, of what, on how many, of how many sites."""
        if self.exact:
            rows = f"{self.count} rows" if self.lines else "rows"
            return f"{self.family} model of {self.outcome}, {rows} of {self.body['sites']} sites"
        counted = "rows" if self.body["plan"]["counted"] == "row" else "people or records"
        return f"{self.family} model of {self.outcome}, about {self.count} {counted} of {self.body['sites']} sites"

    @property
    def drowned(self) -> str | None:
        """What is said where there is no table; nothing where there is one."""
        if self.lines:
            return None
        return _UNFIT[self.body["why"]] if self.exact else DROWNED

    @property
    def legend(self) -> str:
        """Whose noise there is, and what the errors include."""
        words = self.body["privacy"]
        if not self.exact:
            return f"{words}. {self._with_noise()}"
        cut = f" {self.body['cut']} rows were cut in the last round: this is not the pooled fit." if self.cut else ""
        return f"{words}. Errors and intervals (95 %) are of sampling alone; rows count as independent.{cut}"

    @property
    def cut(self) -> int:
        """Of how many rows the linear predictor was cut in the last round of an exact model."""
        return int(self.body.get("cut") or 0)

    def to_fields(self) -> dict[str, Any]:
        """What machines read: the table without the sums."""
        names = ("privacy", "sites", "rounds", "why", "count", "rows", "cut", "confidence", "table")
        told = {name: self.body[name] for name in names if name in self.body}
        return {"family": self.family, "outcome": self.outcome, **told}


@dataclass(frozen=True, slots=True)
class Covariance:
    """Means and covariances of some columns, in their own units; amounts are decimal text, and have no interval.

    Attributes:
        columns: Which.
        rows: How many rows were counted, with noise if there is some.
        means: One for each column; nothing where too few rows were counted.
        matrix: A line for each column; nothing where too few rows were counted.
    """

    columns: tuple[str, ...]
    rows: str
    means: tuple[str, ...] | None
    matrix: tuple[tuple[str, ...], ...] | None

    @property
    def title(self) -> str:
        """What it is of."""
        return f"covariance of {', '.join(self.columns)}, {self.rows} rows"

    def table(self) -> list[list[str]]:
        """A line for each column: its name, its mean, and its covariance with each."""
        if self.means is None or self.matrix is None:
            return []
        return [[name, mean, *line] for name, mean, line in zip(self.columns, self.means, self.matrix, strict=True)]


@dataclass(frozen=True, slots=True)
class SitesStatistics(Statistics):
    """Released statistics of several sites.

    Attributes:
        covariances: One for each that was asked.
    """

    covariances: tuple[Covariance, ...] = field(default=())

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> SitesStatistics:
        """Show a file that was read."""
        plan = FederatedStatistics.from_json(body["plan"])
        return cls("all", tuple(_answers(plan, body)), body, tuple(_covariance(one) for one in body["covariances"]))

    @property
    def dataset(self) -> str:
        """There is none: rows of several sites have several."""
        raise InvalidError("statistics of sites are of several datasets; synthetic rows are drawn from those of one")

    @property
    def legend(self) -> str:
        """Whose noise there is, and what the intervals are of."""
        words = f"{self.body['privacy']}. All rows of {self.body['sites']} sites. "
        if self.body["confidence"] is None:
            return f"{words}There are no intervals: there is no noise, and sampling is in none of the figures."
        told = (
            "Intervals, 95 % each, and the value's standard deviation are of the noise alone; sampling is not in them."
        )
        return words + told + (" Covariances have noise, too, but no interval." if self.covariances else "")

    def to_fields(self) -> dict[str, Any]:
        """What machines read: the answers without the sums."""
        told = {name: self.body[name] for name in ("privacy", "sites", "confidence", "covariances")}
        return {**told, "answers": [answer.to_json() for answer in self]}


def _answers(plan: FederatedStatistics, body: Mapping[str, Any]) -> list[Answer]:
    if not plan.queries:
        return []
    told = zip(plan.queries, body["answers"], layout(plan.queries).sources, strict=True)
    return [_answer(plan, body, *one) for one in told]


def _answer(
    plan: FederatedStatistics, body: Mapping[str, Any], query: Any, answer: Mapping[str, Any], places: Sequence[int]
) -> Answer:
    if plan.noise is None:
        figures = answer["quantiles"] if "quantiles" in answer else answer["values"]
        return Answer(query, answer, (None,) * len(figures))
    noises: list[Parameter] = [added_deviation(plan, plan.vectors[place], body["sites"]) for place in places]
    return Answer.of(query, answer, [[int(n) for n in body["sums"][place]] for place in places], noises)


def _covariance(body: Mapping[str, Any]) -> Covariance:
    means, matrix = body["means"], body["covariance"]
    return Covariance(
        columns=tuple(body["columns"]),
        rows=body["rows"],
        means=None if means is None else tuple(means),
        matrix=None if matrix is None else tuple(map(tuple, matrix)),
    )
