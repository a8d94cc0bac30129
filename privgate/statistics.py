"""Statistics as a trainer asks for them and reads them: queries to send, answers with their intervals.

Rules
-----
1. A query says what was said and no more; the gateway fills in cells and bounds from the declared schema.
2. A released file is computed again from its noisy numbers before an answer of it is shown.
3. An interval holds, at 95 %, what the answer would be without noise. Sampling is not in it.

Form: docs/formats/job-spec.md, "Statistics".
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kernel.amounts import Delta
from kernel.errors import InvalidError
from kernel.events import Parameter
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.feasibility import counting_word
from privacy.jobs.measurements import layout
from privacy.jobs.plan_head import REPEATS
from privacy.jobs.queries import Axis, Query, QueryKind, Side
from privacy.jobs.statistics_plan import StatisticsPlan
from privacy.jobs.statistics_spec import StatisticsSpec
from privacy.statistics.deviations import deviations
from privacy.statistics.expected import reached, title_of
from privacy.statistics.report import open_statistics
from privgate.sdk.amounts import Number, decimal_text

if TYPE_CHECKING:
    from privgate.sdk.jobs import Quote

Written = dict[str, Any]
Vectors = Sequence[Sequence[int]]
Columns = str | Sequence[str]
Edges = Sequence[Number] | Mapping[str, Sequence[Number]]


def count(**choices: Any) -> Written:
    """How many rows; with `per="unit"` how many of those who are protected."""
    return _query("count", **choices)


def histogram(*columns: str, bins: int | None = None, edges: Edges | None = None, **choices: Any) -> Written:
    """How many rows in each cell; of several columns, in each combination of their cells."""
    return _query("histogram", columns=list(columns), bins=bins, edges=edges, **choices)


def total(column: str, *, by: Columns | None = None, **choices: Any) -> Written:
    """The sum of a numeric column, in each cell of the columns `by`. Narrower `low` and `high` mean less noise."""
    return _query("sum", column=column, by=by, **choices)


def mean(column: str, *, by: Columns | None = None, **choices: Any) -> Written:
    """The mean of a numeric column, in each cell of the columns `by`. Narrower `low` and `high` mean less noise."""
    return _query("mean", column=column, by=by, **choices)


def quantiles(column: str, *, at: Sequence[Number] | None = None, **choices: Any) -> Written:
    """Quantiles of a numeric column among the cells that `bins` or `edges` cut; the usual five without `at`."""
    return _query("quantiles", column=column, at=at, **choices)


def profile(*columns: str, **choices: Any) -> Written:
    """A histogram of every column, or of those named: what one wants to know before one designs a model."""
    return _query("profile", columns=list(columns) or None, **choices)


def pairs(*columns: str, **choices: Any) -> Written:
    """A histogram of each two of some columns: what a synthetic table is drawn from (`privgate.synthesis`)."""
    return _query("pairs", columns=list(columns), **choices)


def read_query(sentence: str) -> Written:
    """Read a query as one says it: `count`, `profile`, `pairs age ward`, `histogram ward smoker`, `mean age by ward`.

    After the columns may stand `by` and columns, `at` and quantiles, `bins` and a number, `weight` and a number,
    `per unit`. A name with a space is quoted.
    """
    try:
        words = shlex.split(sentence)
    except ValueError:
        words = []
    groups: dict[str, list[str]] = {"": []}
    current = ""
    for word in words:
        if word in _PREPOSITIONS and word not in groups:
            current = word
            groups[word] = []
        else:
            groups[current].append(word)
    kind, *named = groups.pop("") or [""]
    if kind not in _SINGULAR | _PLURAL or any(not found for found in groups.values()):
        raise InvalidError(_FORMS, field="query")
    if kind in _SINGULAR and len(named) != 1:
        raise InvalidError(f"`{kind}` needs the name of one column", field="query")
    column = {"column": named[0]} if kind in _SINGULAR else {"columns": named or None}
    return _query(kind, **column, **{name: _word(name, found) for name, found in groups.items()})


_FORMS = (
    "a query is one of `count`, `profile`, `histogram ward smoker`, `pairs age ward`, `sum dose`, `mean age`, "
    "`quantiles age at 0.25 0.75` (a median is `quantiles age at 0.5`); then may follow `by ward`, `bins 20`, "
    "`per unit`, `weight 3`"
)
_PREPOSITIONS = ("by", "at", "bins", "weight", "per")
_SINGULAR = frozenset({"sum", "mean", "quantiles"})
_PLURAL = frozenset({"count", "histogram", "profile", "pairs"})


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of an answer: where, what, and between which ends it would lie without noise.

    Attributes:
        where: A text for each column that cuts the answer into cells; of a quantile, which.
        value: The estimate; nothing where too few rows are there to say.
        low, high: The interval, at 95 %; nothing where no noise was added.
        deviation: Standard deviation of the noise in the value, in the value's own unit; nothing without a value.
    """

    where: tuple[str, ...]
    value: str | None
    low: str | None
    high: str | None
    deviation: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one query.

    Attributes:
        query: In its final form.
        body: As it was released.
        deviations: Standard deviation of the noise in each figure, in the figure's own unit.
    """

    query: Query
    body: Mapping[str, Any] = field(repr=False)
    deviations: tuple[str | None, ...] = field(repr=False)

    @classmethod
    def of(cls, query: Query, body: Mapping[str, Any], noisy: Vectors, noises: Sequence[Parameter]) -> Answer:
        """Join what was released to how noisy it is.

        Args:
            query: In its final form.
            body: As it was released.
            noisy: The numbers of its measurements.
            noises: The deviation of the noise on each number of each.
        """
        values = [q["value"] for q in body["quantiles"]] if query.kind is QueryKind.QUANTILES else body["values"]
        return cls(query, body, tuple(deviations(query, noisy, noises, [value is not None for value in values])))

    @property
    def title(self) -> str:
        """The query in a few words."""
        return title_of(self.query)

    def __iter__(self) -> Iterator[Cell]:
        if self.query.kind is QueryKind.QUANTILES:
            told = zip(self.body["quantiles"], self.deviations, strict=True)
            yield from (Cell((q["at"],), q["value"], q.get("low"), q.get("high"), of) for q, of in told)
            return
        places = itertools.product(*(_names(axis) for axis in self.query.axes))
        none = [None] * len(self.deviations)
        columns = [self.body["values"], *(self.body.get(name, none) for name in ("low", "high"))]
        for where, value, low, high, of in zip(places, *columns, self.deviations, strict=True):
            yield Cell(where, value, low, high, of)

    def to_json(self) -> dict[str, Any]:
        """As it was released, with the query in words and how noisy each figure is."""
        return {**self.body, "query": self.title, "deviations": list(self.deviations)}


@dataclass(frozen=True, slots=True)
class Statistics:
    """Released statistics, computed again from their noisy numbers.

    Attributes:
        block: Whose rows: those that train, or those held out.
        answers: One for each query, in the order of the request.
        body: The file as it was released.
    """

    block: str
    answers: tuple[Answer, ...]
    body: Mapping[str, Any] = field(repr=False)

    @property
    def dataset(self) -> str:
        """Of what."""
        return str(self.body["request"]["dataset"])

    @classmethod
    def read(cls, data: bytes) -> Statistics:
        """Read a released file; raise `InvalidError` if an answer does not follow from its noisy numbers."""
        found = open_statistics(data)
        queries, body = found.spec.queries, found.body
        noisy, noises = body["noisy"], [Parameter(each) for each in body["deviations"]]
        answers = (
            Answer.of(query, answer, [noisy[place] for place in places], [noises[place] for place in places])
            for query, answer, places in zip(queries, body["answers"], layout(queries).sources, strict=True)
        )
        return cls(found.spec.block.value, tuple(answers), body)

    def __iter__(self) -> Iterator[Answer]:
        return iter(self.answers)

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, number: int) -> Answer:
        return self.answers[number]

    @property
    def legend(self) -> str:
        """What stands under the answers: whose rows they are of, and what the intervals are of."""
        return (
            f"Of the rows on the side `{self.block}`. Intervals, 95 % each, and the value's standard deviation are of "
            "the noise alone; sampling is not in them."
        )

    def to_fields(self) -> dict[str, Any]:
        """What machines read: the answers without the noisy numbers."""
        return {"block": self.block, "answers": [answer.to_json() for answer in self]}


def expected_noise(quote: Quote, facts: DeclaredFacts) -> list[tuple[str, str]]:
    """What each answer of a quoted request would be uncertain by, before anything is spent.

    Args:
        quote: The gateway's quote.
        facts: What is declared of the dataset's people (`dataset.facts()`).

    Returns:
        For each query its title, and plus or minus what its noise reaches at 95 %: of counts in rows or units of each
        cell, of a sum and of a mean in the column's unit. A mean's depends on how many are in the cell: it is told for
        the declared size, spread evenly over the cells.
    """
    spec, plan, sources = _planned(quote, facts)
    noises = [plan.deviation(measurement) for measurement in plan.measurements]
    people = int(_people(spec, facts))
    return [
        (title_of(query), reached(query, [noises[place] for place in places], people))
        for query, places in zip(spec.queries, sources, strict=True)
    ]


def words(quote: Quote, facts: DeclaredFacts) -> list[tuple[str, str]]:
    """Whether each answer of a quoted request can succeed: `likely`, `doubtful` or `hopeless`, by declared sizes.

    The quote's own word is that of the worst among them.
    """
    spec, plan, sources = _planned(quote, facts)
    # Two deviations of its noise, as if everybody who is counted counted by one.
    swings = [2 * float(plan.deviation(each).number) / each.row_bound for each in plan.measurements]
    people = float(_people(spec, facts))
    return [
        (title_of(query), str(counting_word(max(swings[place] for place in places), people)))
        for query, places in zip(spec.queries, sources, strict=True)
    ]


def _people(spec: StatisticsSpec, facts: DeclaredFacts) -> Decimal:
    return facts.public_size - facts.training_units if spec.block is Side.HOLDOUT else facts.training_units


def _planned(quote: Quote, facts: DeclaredFacts) -> tuple[StatisticsSpec, StatisticsPlan, Sequence[Sequence[int]]]:
    """The request, the plan that the gateway made of it, and which measurements each query is answered from."""
    spec = StatisticsSpec.from_json(quote.request)
    laid = layout(spec.queries)
    plan = StatisticsPlan(
        request=spec.digest,
        block=spec.block,
        measurements=tuple(each.size for each in laid.measurements),
        noise_multiplier=Parameter(quote.noise_multiplier),
        rows_per_unit=facts.rows_per_unit,
        repeats=REPEATS,
        order=quote.order,
        epsilon=spec.epsilon,
        delta=Delta.parse(quote.delta),
    )
    return spec, plan, laid.sources


def _names(axis: Axis) -> list[str]:
    """A name for each cell: its text, or its interval."""
    if axis.texts:
        return list(axis.texts)
    ends = list(axis.limits)
    closing = [")"] * (len(ends) - 2) + ["]"]
    return [f"[{low}, {high}{end}" for low, high, end in zip(ends, ends[1:], closing, strict=False)]


def _word(name: str, found: list[str]) -> Any:
    if name in ("by", "at"):
        return found
    if len(found) != 1:
        raise InvalidError(f"`{name}` is followed by one word", field="query")
    return int(found[0]) if name in ("bins", "weight") and found[0].isascii() and found[0].isdigit() else found[0]


def _query(kind: str, **choices: Any) -> Written:
    return {"kind": kind, **{name: _decimal(name, value) for name, value in choices.items() if value is not None}}


def _decimal(name: str, value: Any) -> Any:
    if name in ("low", "high", "quantum"):
        return decimal_text(value, name)
    if name == "by":
        return [value] if isinstance(value, str) else list(value)
    if name not in ("edges", "at"):
        return value
    if isinstance(value, Mapping):
        return {column: _decimal(name, edges) for column, edges in value.items()}
    return [decimal_text(each, name) for each in value]
