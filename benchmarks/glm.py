"""Part of `make bench-accuracy`: how often intervals of GLM jobs hold the truth, and how long they are.

    python -m benchmarks.glm [--quick] [--task NAME ...]

Each run draws people whose true coefficients are known, plans and measures as the product does, with fresh noise from
the operating system, and reads the table back from the released file. `coverage` is how often an interval at 95 % holds
its coefficient, over all coefficients and runs; `least` and `most` are that of the worst coefficient either way.
`interval_ratio` is the median length of an interval over that of the same model fitted without privacy to the same
people; `untold` counts runs whose table was not given because the noise drowned it, which count as not covered.
`naive_coverage` takes the same estimates with the errors that an analyst would print who forgets the noise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import glm_page
from benchmarks.lines import RESULTS
from benchmarks.tasklines import arguments, chosen_of, keep, told
from kernel.amounts import Delta, Epsilon, Share
from privacy.budget.populations import Budget
from privacy.glm.inference import QUANTILE
from privacy.glm.measure import measure
from privacy.glm.report import glm_bytes, read_glm
from privacy.glm.sums import Cases
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.glm_plan import plan_glm
from privacy.jobs.glm_spec import complete_glm
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder
from privacy.training.units import UnitTable

RUNS = 500
PEOPLE = (2000, 20_000)
EPSILONS = ("1", "3")
DELTAS = {2000: "0.000001", 20_000: "0.0000005"}
"""At most 1/(100 people) and at most 1e-6, as the product demands."""
PREDICTORS = ("age", "bmi", "sex", "smoker")
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A simulated study.

    Attributes:
        family: Of the model.
        outcome: The outcome's column, as declared.
        wide: Columns are declared much wider than people lie, as owners do who do not want to guess.
        truth: Intercept, then per year of age, per unit of BMI, men against women, smokers against others.
    """

    family: str
    outcome: Mapping[str, str]
    truth: tuple[float, ...]
    wide: bool = False

    @property
    def name(self) -> str:
        """As in the results."""
        return f"glm-{self.family}" + ("-wide" if self.wide else "")

    @property
    def schema(self) -> TableSchema:
        """What the owner declares."""
        ages, masses = (("0", "150"), ("0", "200")) if self.wide else (("20", "80"), ("15", "45"))
        return TableSchema.from_json(
            {
                "columns": [
                    {"name": "age", "kind": "numeric", "low": ages[0], "high": ages[1], "clamp": True},
                    {"name": "bmi", "kind": "numeric", "low": masses[0], "high": masses[1], "clamp": True},
                    {"name": "sex", "kind": "categorical", "categories": ["female", "male"]},
                    {"name": "smoker", "kind": "boolean"},
                    dict(self.outcome),
                ]
            }
        )


NARROW = (
    Trial(
        family="linear",
        outcome={"name": "pressure", "kind": "numeric", "low": "60", "high": "210", "clamp": True},  # type: ignore[dict-item]
        truth=(80.0, 0.5, 0.8, 4.0, 3.0),
    ),
    Trial(
        family="logistic",
        outcome={"name": "event", "kind": "boolean"},
        truth=(-5.2, 0.04, 0.06, 0.4, 0.7),
    ),
    Trial(
        family="poisson",
        outcome={"name": "visits", "kind": "numeric", "low": "0", "high": "30", "clamp": True},  # type: ignore[dict-item]
        truth=(-1.2, 0.015, 0.03, -0.3, 0.4),
    ),
)
TRIALS = (*NARROW, *(replace(trial, wide=True) for trial in NARROW))
RESIDUAL = 14.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Drawn people: the table as it would be uploaded, and the same as a design matrix with an outcome."""

    table: pa.Table
    design: Floats
    outcome: Floats


def draw(trial: Trial, people: int, source: np.random.Generator) -> Sample:
    """Draw people of a trial; numbers leave no declared range but by being cut at it, which is rare."""
    age = source.uniform(20, 80, people)
    bmi = np.clip(source.normal(26 + (age - 50) / 20, 4.5), 15, 45)
    male, smoker = source.random(people) < 0.5, source.random(people) < 0.25
    design = np.stack([np.ones(people), age, bmi, male, smoker], axis=1).astype(np.float64)
    outcome = _outcome(trial, design @ np.asarray(trial.truth), source)
    columns = {"age": age, "bmi": bmi, "sex": np.where(male, "male", "female"), "smoker": smoker}
    written = outcome > 0 if trial.family == "logistic" else outcome
    return Sample(pa.table({**columns, trial.outcome["name"]: written}), design, outcome)


def _outcome(trial: Trial, predicted: Floats, source: np.random.Generator) -> Floats:
    if trial.family == "linear":
        return np.clip(predicted + source.normal(0, RESIDUAL, len(predicted)), 60, 210)
    if trial.family == "logistic":
        return (source.random(len(predicted)) < 1 / (1 + np.exp(-predicted))).astype(np.float64)
    return np.minimum(source.poisson(np.exp(predicted)), 30).astype(np.float64)


def fitted_openly(trial: Trial, sample: Sample) -> Floats:
    """Standard errors of the ordinary fit without privacy."""
    rows, outcome = sample.design, sample.outcome
    if trial.family == "linear":
        solution = np.linalg.lstsq(rows, outcome, rcond=None)[0]
        variance = float(np.sum((outcome - rows @ solution) ** 2) / (len(rows) - rows.shape[1]))
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(rows.T @ rows)) * variance))
    solution = np.asarray(trial.truth)  # a start from which Newton's method converges
    for _ in range(8):
        mean = np.exp(rows @ solution) if trial.family == "poisson" else 1 / (1 + np.exp(-rows @ solution))
        weight = mean if trial.family == "poisson" else mean * (1 - mean)
        curvature = (rows * weight[:, None]).T @ rows
        solution = solution + np.linalg.solve(curvature, rows.T @ (outcome - mean))
    return np.asarray(np.sqrt(np.diag(np.linalg.inv(curvature))))


class Cell:
    """One family at one size and epsilon, planned once.

    Args:
        trial: The study.
        people: How many take part.
        epsilon: Of each run alone.
    """

    def __init__(self, trial: Trial, people: int, epsilon: str) -> None:
        budget = Budget.allot(Epsilon.parse("10"), Delta.parse(DELTAS[people]))
        facts = DeclaredFacts(
            public_size=people, holdout_share=Share.parse("0"), rows_per_unit=1, order=budget.order, delta=budget.delta
        )
        body = {
            "kind": "glm",
            "dataset": "dst_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "purpose": "research",
            "epsilon": epsilon,
            "family": trial.family,
            "outcome": trial.outcome["name"],
            "predictors": list(PREDICTORS),
        }
        self.trial, self.people, self.epsilon = trial, people, epsilon
        self.spec = complete_glm(body, trial.schema)
        self.plan = plan_glm(self.spec, trial.schema, facts)
        self.design = self.spec.design(trial.schema)
        self.encoder = RowEncoder(self.spec.features, trial.schema)

    def released(self, sample: Sample) -> list[dict[str, Any]] | None:
        """The table of one run, read back from its file."""
        units = UnitTable.of_records(self.encoder.encode(sample.table))
        sums = measure(self.design, self.plan.multipliers(self.design), Cases.of(self.design, units, per_row=False))
        found: list[dict[str, Any]] | None = read_glm(
            glm_bytes(self.plan, self.trial.outcome["name"], self.design, sums)
        )["table"]
        return found

    def line(self, runs: int) -> dict[str, Any]:
        """The result line."""
        source, start = np.random.default_rng(), time.process_time()
        covered, naive, ratios, shares = [], [], [], []
        nothing = np.zeros(len(self.trial.truth), dtype=np.bool_)
        for _ in range(runs):
            sample = draw(self.trial, self.people, source)
            table, openly = self.released(sample), fitted_openly(self.trial, sample)
            if table is None:
                covered.append(nothing)
                continue
            value, error = (_column(table, name) for name in ("coefficient", "standard_error"))
            off = np.abs(value - np.asarray(self.trial.truth))
            covered.append(off <= QUANTILE * error)
            naive.append(off <= QUANTILE * openly)
            ratios.append(error / openly)
            shares.append(_column(table, "noise_share"))
        return self._line(covered, naive, ratios, shares) | {
            "cpu_seconds": round((time.process_time() - start) / runs, 4)
        }

    def _line(self, covered: list[Any], naive: list[Any], ratios: list[Floats], shares: list[Floats]) -> dict[str, Any]:
        each = np.mean(covered, axis=0)
        return {
            "task": self.trial.name,
            "people": self.people,
            "epsilon": self.epsilon,
            "delta": DELTAS[self.people],
            "unit": "record",
            "coefficients": len(self.trial.truth),
            "coverage": round(float(each.mean()), 4),
            "least": round(float(each.min()), 4),
            "most": round(float(each.max()), 4),
            "interval_ratio": round(float(np.median(ratios)), 3),
            "noise_share": round(float(np.median(shares)), 3),
            "naive_coverage": round(float(np.mean(naive)), 4),
            "untold": len(covered) - len(ratios),
            "runs": len(covered),
        }


def _column(table: list[dict[str, Any]], name: str) -> Floats:
    return np.asarray([float(line[name]) for line in table])


def sizes_of(trial: Trial) -> tuple[int, ...]:
    """How many people; wide ranges cost something only where people are few."""
    return PEOPLE[:1] if trial.wide else PEOPLE


def lines(trial: Trial, runs: int) -> Iterator[dict[str, Any]]:
    """Result lines of one trial."""
    for people in sizes_of(trial):
        for epsilon in EPSILONS:
            yield Cell(trial, people, epsilon).line(runs)


def main() -> None:
    """Measure and write."""
    chosen = arguments(__doc__, "20 runs of each")
    runs = 20 if chosen.quick else RUNS
    found = told(line for trial in chosen_of(TRIALS, chosen.task) for line in lines(trial, runs))
    if not chosen.quick:
        path = RESULTS / "glm.jsonl"
        keep(path, found)
        glm_page.write(path)


if __name__ == "__main__":
    main()
