"""What a quote's word is worth for a GLM job: made-up studies of many sizes, and what noise left of their tables.

    python -m benchmarks.glm_feasibility [--quick]

Each run draws people of a new study: numbers that lie in a part of a wide declared range, some of them skewed, and
answers of yes and no; `usual` ones are given by a third or so and the outcome is common, of `rare` ones a twentieth say
yes and the outcome is scarce. It goes through the product's own request, plan, sums, noise and released file. `told` is
how many runs gave a table; `widening` the median length of an interval over that of the same model fitted without
privacy. Lines go to `results/glm-feasibility.jsonl`; docs/MODELS.md has the table.

Studies of several rows have persons with one to `rows` of them, every second predictor the person's own and the others
of the row, and a part of the outcome that a person's rows share; those of a `hazard` have a row for each period until
the event or until somebody leaves. Their fit without privacy is the usual one with errors clustered by person.
Their lines go to `results/glm-feasibility-rows.jsonl`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.glm import Floats
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon, Share
from privacy.budget.populations import Budget
from privacy.glm.measure import measure
from privacy.glm.report import glm_bytes, read_glm
from privacy.glm.sums import Cases
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.feasibility import Feasibility, glm_clarity, glm_widening, glm_word
from privacy.jobs.glm_plan import GlmPlan, plan_glm
from privacy.jobs.glm_spec import Counted, GlmSpec, complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable

Owners: TypeAlias = NDArray[np.int64]
FILE = RESULTS / "glm-feasibility.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "MODELS.md"
SEVERAL_FILE = RESULTS / "glm-feasibility-rows.jsonl"
FAMILIES = ("linear", "logistic", "poisson")
KINDS = {"usual": (0.35, -0.8), "rare": (0.05, -2.5)}
"""How many say yes to a question, and where the linear predictor of a logistic outcome lies."""
SIZES = (200, 500, 1200, 3000)
TERMS = (2, 4, 10)
EPSILONS = ("0.3", "1", "3", "8")
RUNS, SEVERAL_RUNS = 10, 5
SEVERAL = ("linear", "logistic", "poisson", "hazard")
SEVERAL_ROWS, SEVERAL_SIZES, SEVERAL_TERMS, SEVERAL_EPSILONS = (4, 12), (500, 1500, 5000), (2, 5), ("1", "3", "8")
HAZARDS = {"usual": -2.5, "rare": -3.5}
"""Where the linear predictor of a period lies."""
_DELTA = "0.000001"
_EFFECT, _RESIDUAL, _HIGHEST = 0.8, 1.0, 30
_SHARED, _LEAVES, _NEWTON = 0.5, 0.03, 12


@dataclass(frozen=True, slots=True)
class Case:
    """One size of everything."""

    family: str
    kind: str
    people: int
    terms: int
    epsilon: str
    rows: int = 1
    counted: str = "unit"

    @property
    def shape(self) -> str:
        """The family of the outcome's distribution."""
        return "logistic" if self.family == "hazard" else self.family

    @property
    def schema(self) -> TableSchema:
        """What the owner declares: three wide ranges, then a question, and so on; and the outcome."""
        predictors = [_declared(place) for place in range(self.terms)]
        outcome = {
            "linear": {"name": "y", "kind": "numeric", "low": "-20", "high": "20", "clamp": True},
            "logistic": {"name": "y", "kind": "boolean"},
            "poisson": {"name": "y", "kind": "numeric", "low": "0", "high": str(_HIGHEST), "clamp": True},
        }[self.shape]
        return TableSchema.from_json({"columns": [*predictors, outcome]})


def cases() -> Iterator[Case]:
    """Every combination."""
    for of in itertools.product(FAMILIES, KINDS, SIZES, TERMS, EPSILONS):
        yield Case(*of)


def several_cases() -> Iterator[Case]:
    """Every combination of persons with several rows; of a hazard every row counts."""
    sizes = (KINDS, SEVERAL_SIZES, SEVERAL_TERMS, SEVERAL_EPSILONS, SEVERAL_ROWS)
    for family, counted in itertools.product(SEVERAL, ("unit", "row")):
        if (family, counted) != ("hazard", "unit"):
            yield from (Case(family, *of, counted) for of in itertools.product(*sizes))


def told_of(case: Case) -> dict[str, Any]:
    """What a quote goes by, and its word."""
    _, plan = planned(case)
    return {
        "clarity": round(glm_clarity(plan, case.people), 2),
        "expected_widening": round(glm_widening(plan, case.people), 2),
        "word": glm_word(plan, case.people).value,
    }


def planned(case: Case) -> tuple[GlmSpec, GlmPlan]:
    """The request and its plan."""
    budget = Budget.allot(Epsilon.parse("10"), Delta.parse(_DELTA))
    facts = DeclaredFacts(
        public_size=case.people,
        holdout_share=Share.zero(),
        rows_per_unit=case.rows,
        order=budget.order,
        delta=budget.delta,
    )
    names = [f"x{place}" for place in range(case.terms)]
    asked = {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": case.epsilon}
    asked |= {"family": case.family, "counted": case.counted, "outcome": "y"}
    spec = complete_glm(asked | {"predictors": names}, case.schema)
    return spec, plan_glm(spec, case.schema, facts)


def line(case: Case, runs: int) -> dict[str, Any]:
    """One result line: the plan's figures and word, and what became of each run."""
    schema, source = case.schema, np.random.default_rng()
    spec, plan = planned(case)
    design, encoder = spec.design(schema), RowEncoder(spec.features, schema)
    widths = []
    for _ in range(runs):
        if case.rows == 1:
            columns, rows, predicted = draw(case, source)
            units, openly = UnitTable.of_records(encoder.encode(pa.table(columns))), _openly(case, rows, predicted)
        else:
            columns, rows, owners = draw_several(case, source)
            units = UnitTable.by_unit(encoder.encode(pa.table(columns)), owners, case.rows)
            openly = clustered(case, rows, np.asarray(columns["y"], dtype=np.float64), owners)
        sums = measure(design, plan.multipliers(design), Cases.of(design, units, plan.counted is Counted.ROW))
        table = read_glm(glm_bytes(plan, "y", design, sums))["table"]
        if table is not None:
            widths.append(_widening(table, openly))
    of = {name: getattr(case, name) for name in ("family", "kind", "people", "terms", "epsilon", "rows", "counted")}
    widening = round(float(np.median(widths)), 2) if widths else None
    return of | told_of(case) | {"runs": runs, "told": len(widths), "widening": widening}


def draw(case: Case, source: np.random.Generator) -> tuple[dict[str, Any], Floats, Floats]:
    """A table of a new study, the same as a design matrix, and the true linear predictor."""
    share, start = KINDS[case.kind]
    values = [_drawn(place, share, case.people, source) for place in range(case.terms)]
    rows = np.stack([np.ones(case.people), *values], axis=1).astype(np.float64)
    effects = source.normal(size=case.terms)
    effects *= _EFFECT / np.linalg.norm(effects)
    spreads = np.array([_spread(place) for place in range(case.terms)])
    predicted = (rows[:, 1:] - rows[:, 1:].mean(axis=0)) @ (effects / spreads)
    predicted += start if case.family == "logistic" else 0.0
    outcome = _outcome(case, predicted, source)
    columns = {f"x{place}": value for place, value in enumerate(values)}
    return columns | {"y": outcome}, rows, predicted


def _outcome(case: Case, predicted: Floats, source: np.random.Generator) -> Any:
    many = len(predicted)
    match case.shape:
        case "linear":
            return np.clip(predicted + source.normal(0, _RESIDUAL, many), -20, 20)
        case "logistic":
            return source.random(many) < 1 / (1 + np.exp(-predicted))
        case _:
            return np.minimum(source.poisson(np.exp(predicted)), _HIGHEST).astype(np.float64)


def _declared(place: int) -> dict[str, Any]:
    if place % 4 == 2:
        return {"name": f"x{place}", "kind": "boolean"}
    return {
        "name": f"x{place}",
        "kind": "numeric",
        "low": "0",
        "high": ("120", "500", "", "100")[place % 4],
        "clamp": True,
    }


def _drawn(place: int, share: float, people: int, source: np.random.Generator) -> Any:
    match place % 4:
        case 0:
            return source.normal(60, 15, people).clip(0, 120)
        case 1:
            return source.exponential(40, people).clip(0, 500)
        case 2:
            return source.random(people) < share
        case _:
            return source.uniform(0, 100, people)


def _spread(place: int) -> float:
    return (15.0, 40.0, 0.5, 29.0)[place % 4]


def _openly(case: Case, rows: Floats, predicted: Floats) -> Floats:
    """Errors of the efficient fit at the true coefficients."""
    chance = 1 / (1 + np.exp(-predicted))
    weight = {
        "linear": np.full(case.people, _RESIDUAL**-2),
        "logistic": chance * (1 - chance),
        "poisson": np.exp(predicted),
    }[case.family]
    return np.asarray(np.sqrt(np.diag(np.linalg.pinv((rows * weight[:, None]).T @ rows))))


def _widening(table: Sequence[Mapping[str, Any]], openly: Floats) -> float:
    """The median length of an interval over that of the fit without privacy."""
    errors = np.array([float(one["standard_error"]) for one in table])
    return float(np.median(errors / np.maximum(openly, 1e-300)))


def draw_several(case: Case, source: np.random.Generator) -> tuple[dict[str, Any], Floats, Owners]:
    """A table of a new study of persons with several rows, the same as a design matrix, and whose each row is."""
    share, start = KINDS[case.kind]
    hazard = case.family == "hazard"
    many = np.full(case.people, case.rows) if hazard else source.integers(1, case.rows + 1, case.people)
    owners = np.repeat(np.arange(case.people), many)
    values = [
        _drawn(place, share, case.people, source)[owners]
        if hazard or place % 2 == 0
        else _drawn(place, share, len(owners), source)
        for place in range(case.terms)
    ]
    rows = np.stack([np.ones(len(owners)), *values], axis=1).astype(np.float64)
    effects = source.normal(size=case.terms)
    effects *= _EFFECT / np.linalg.norm(effects)
    spreads = np.array([_spread(place) for place in range(case.terms)])
    predicted = (rows[:, 1:] - rows[:, 1:].mean(axis=0)) @ (effects / spreads)
    predicted += source.normal(0, _SHARED, case.people)[owners]
    predicted += HAZARDS[case.kind] if hazard else start if case.family == "logistic" else 0.0
    outcome = _outcome(case, predicted, source)
    kept = _at_risk(outcome, case.rows, source) if hazard else np.ones(len(owners), dtype=np.bool_)
    columns = {f"x{place}": value[kept] for place, value in enumerate(values)}
    return columns | {"y": outcome[kept]}, rows[kept], owners[kept]


def _at_risk(events: NDArray[np.bool_], periods: int, source: np.random.Generator) -> NDArray[np.bool_]:
    """Which periods are seen: none after the event, or after somebody left."""
    over = (events | (source.random(len(events)) < _LEAVES)).reshape(-1, periods)
    before = np.cumsum(over, axis=1) - over
    return np.asarray((before == 0).reshape(-1))


def clustered(case: Case, rows: Floats, outcome: Floats, owners: Owners) -> Floats:
    """Errors of the usual fit of all rows, clustered by person."""
    scale = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    scaled, solution = rows / scale, np.zeros(rows.shape[1])
    means = {"linear": lambda x: x, "logistic": lambda x: 1 / (1 + np.exp(-x)), "poisson": np.exp}[case.shape]
    slopes = {"linear": np.ones_like, "logistic": lambda m: m * (1 - m), "poisson": lambda m: m}[case.shape]
    for _ in range(_NEWTON):
        mean = means(np.clip(scaled @ solution, -20, 20))
        inverse = np.linalg.pinv((scaled * slopes(mean)[:, None]).T @ scaled)
        solution = solution + inverse @ (scaled.T @ (outcome - mean))
    scores = np.zeros((case.people, rows.shape[1]))
    np.add.at(scores, owners, scaled * (outcome - mean)[:, None])
    return np.asarray(np.sqrt(np.diag(inverse @ scores.T @ scores @ inverse)) / scale)


def summary(lines: Sequence[Mapping[str, Any]], by: str) -> list[str]:
    """For each family, kind or counting, and word: how many runs gave a table, and how wide its intervals were."""
    said = []
    groups = dict.fromkeys((line["family"], line[by]) for line in lines)
    for (family, group), word in itertools.product(groups, Feasibility):
        of = [line for line in lines if (line["family"], line[by], line["word"]) == (family, group, word)]
        if of:
            runs, told = sum(line["runs"] for line in of), sum(line["told"] for line in of)
            widths = sorted(line["widening"] for line in of if line["widening"] is not None)
            wide = f"{np.median(widths):.1f} | {widths[0]:.1f} to {widths[-1]:.1f}" if widths else "- | -"
            said.append(f"| {family} | {group} | {word} | {len(of)} | {told / runs:.0%} | {wide} |")
    return said


def page_with(page: str, file: Path, lines: Sequence[Mapping[str, Any]]) -> str:
    """docs/MODELS.md with the table of these lines, which are those of the file."""
    by, named = ("kind", "answers") if file == FILE else ("counted", "what counts")
    before, begin, rest = page.partition(f"<!-- table of {file.name} -->")
    _, end, after = rest.partition(f"<!-- end of {file.name} -->")
    head = [f"| family | {named} | word | studies | told | widening, median | range |", "| --- " * 7 + "|"]
    return before + begin + "\n" + "\n".join([*head, *summary(lines, by)]) + "\n" + end + after


def main() -> None:
    """Measure, write, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of each; nothing is written")
    parser.add_argument("--several", action="store_true", help="only studies of persons with several rows")
    asked = parser.parse_args()
    parts = [(FILE, cases(), RUNS), (SEVERAL_FILE, several_cases(), SEVERAL_RUNS)]
    for file, of, runs in parts[1:] if asked.several else parts:
        found = []
        for case in of:
            found.append(line(case, 2 if asked.quick else runs))
            sys.stdout.write(json.dumps(found[-1]) + "\n")
            sys.stdout.flush()
        if not asked.quick:
            write(file, found)


def write(file: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """The lines and their table."""
    file.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), file, lines), encoding="utf-8")


if __name__ == "__main__":
    main()
