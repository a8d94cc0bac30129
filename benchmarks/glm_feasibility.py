"""What a quote's word is worth for a GLM job: made-up studies of many sizes, and what noise left of their tables.

    python -m benchmarks.glm_feasibility [--quick]

Each run draws people of a new study: numbers that lie in a part of a wide declared range, some of them skewed, and
answers of yes and no; `usual` ones are given by a third or so and the outcome is common, of `rare` ones a twentieth say
yes and the outcome is scarce. It goes through the product's own request, plan, sums, noise and released file. `told` is
how many runs gave a table; `widening` the median length of an interval over that of the same model fitted without
privacy. Lines go to `results/glm-feasibility.jsonl`; docs/MODELS.md has the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

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
from privacy.jobs.glm_spec import GlmSpec, complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable

FILE = RESULTS / "glm-feasibility.jsonl"
PAGE = Path(__file__).parents[1] / "docs" / "MODELS.md"
BEGIN, END = "<!-- table of glm-feasibility.jsonl -->", "<!-- end of glm-feasibility.jsonl -->"
FAMILIES = ("linear", "logistic", "poisson")
KINDS = {"usual": (0.35, -0.8), "rare": (0.05, -2.5)}
"""How many say yes to a question, and where the linear predictor of a logistic outcome lies."""
SIZES = (200, 500, 1200, 3000)
TERMS = (2, 4, 10)
EPSILONS = ("0.3", "1", "3", "8")
RUNS = 10
_DELTA = "0.000001"
_EFFECT, _RESIDUAL, _HIGHEST = 0.8, 1.0, 30


@dataclass(frozen=True, slots=True)
class Case:
    """One size of everything."""

    family: str
    kind: str
    people: int
    terms: int
    epsilon: str

    @property
    def schema(self) -> TableSchema:
        """What the owner declares: three wide ranges, then a question, and so on; and the outcome."""
        predictors = [_declared(place) for place in range(self.terms)]
        outcome = {
            "linear": {"name": "y", "kind": "numeric", "low": "-20", "high": "20", "clamp": True},
            "logistic": {"name": "y", "kind": "boolean"},
            "poisson": {"name": "y", "kind": "numeric", "low": "0", "high": str(_HIGHEST), "clamp": True},
        }[self.family]
        return TableSchema.from_json({"columns": [*predictors, outcome]})


def cases() -> Iterator[Case]:
    """Every combination."""
    for of in itertools.product(FAMILIES, KINDS, SIZES, TERMS, EPSILONS):
        yield Case(*of)


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
        public_size=case.people, holdout_share=Share.zero(), rows_per_unit=1, order=budget.order, delta=budget.delta
    )
    names = [f"x{place}" for place in range(case.terms)]
    asked = {"kind": "glm", "dataset": "dst_" + "a" * 26, "purpose": "research", "epsilon": case.epsilon}
    spec = complete_glm(asked | {"family": case.family, "outcome": "y", "predictors": names}, case.schema)
    return spec, plan_glm(spec, case.schema, facts)


def line(case: Case, runs: int) -> dict[str, Any]:
    """One result line: the plan's figures and word, and what became of each run."""
    schema, source = case.schema, np.random.default_rng()
    spec, plan = planned(case)
    design, encoder = spec.design(schema), RowEncoder(spec.features, schema)
    widths = []
    for _ in range(runs):
        columns, rows, predicted = draw(case, source)
        units = UnitTable.of_records(encoder.encode(pa.table(columns)))
        sums = measure(design, plan.multipliers(design), Cases.of(design, units, per_row=False))
        table = read_glm(glm_bytes(plan, "y", design, sums))["table"]
        if table is not None:
            widths.append(_widening(case, table, rows, predicted))
    of = {name: getattr(case, name) for name in ("family", "kind", "people", "terms", "epsilon")}
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
    outcome = {
        "linear": lambda: np.clip(predicted + source.normal(0, _RESIDUAL, case.people), -20, 20),
        "logistic": lambda: source.random(case.people) < 1 / (1 + np.exp(-predicted)),
        "poisson": lambda: np.minimum(source.poisson(np.exp(predicted)), _HIGHEST).astype(np.float64),
    }[case.family]()
    columns = {f"x{place}": value for place, value in enumerate(values)}
    return columns | {"y": outcome}, rows, predicted


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


def _widening(case: Case, table: Sequence[Mapping[str, Any]], rows: Floats, predicted: Floats) -> float:
    """The median length of an interval over that of the efficient fit at the true coefficients."""
    chance = 1 / (1 + np.exp(-predicted))
    weight = {
        "linear": np.full(case.people, _RESIDUAL**-2),
        "logistic": chance * (1 - chance),
        "poisson": np.exp(predicted),
    }[case.family]
    openly = np.sqrt(np.diag(np.linalg.pinv((rows * weight[:, None]).T @ rows)))
    errors = np.array([float(one["standard_error"]) for one in table])
    return float(np.median(errors / np.maximum(openly, 1e-300)))


def summary(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each family, kind and word: how many runs gave a table, and how wide its intervals were."""
    said = []
    for family, kind, word in itertools.product(FAMILIES, KINDS, Feasibility):
        of = [line for line in lines if (line["family"], line["kind"], line["word"]) == (family, kind, word)]
        if of:
            runs, told = sum(line["runs"] for line in of), sum(line["told"] for line in of)
            widths = sorted(line["widening"] for line in of if line["widening"] is not None)
            wide = f"{np.median(widths):.1f} | {widths[0]:.1f} to {widths[-1]:.1f}" if widths else "- | -"
            said.append(f"| {family} | {kind} | {word} | {len(of)} | {told / runs:.0%} | {wide} |")
    return said


def page_with(page: str, lines: Sequence[Mapping[str, Any]]) -> str:
    """docs/MODELS.md with the table of these lines."""
    before, _, rest = page.partition(BEGIN)
    head = ["| family | answers | word | studies | told | widening, median | range |", "| --- " * 7 + "|"]
    return before + BEGIN + "\n" + "\n".join([*head, *summary(lines)]) + "\n" + END + rest.partition(END)[2]


def main() -> None:
    """Measure, write, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of each; nothing is written")
    quick = parser.parse_args().quick
    found = []
    for case in cases():
        found.append(line(case, 2 if quick else RUNS))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(summary(found)) + "\n")
    if not quick:
        FILE.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
