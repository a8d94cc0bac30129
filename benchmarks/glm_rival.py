"""Part of `make bench-accuracy`: coefficients of a GLM job beside those of a logistic model that DP-SGD trained.

    python -m benchmarks.glm_rival [--quick]

The same people, the same epsilon and delta: the logistic trial of `benchmarks.glm`, once as a `glm` job, and as
`training` jobs of the template `logistic`: with the recipe that a request without one gets, and with a clip so wide
that next to no gradient is cut, which is the best that was found. Of the trained weights the coefficients are read off
its own preprocessing, as differences of linear predictors. `error` is the root of the mean
squared error of all coefficients but the intercept, each in standard errors of the ordinary fit without privacy to the
same people: 1 is what anybody has who needs no privacy. `coverage` is that of the intervals that are printed: of the
GLM job its own; of the trained model those of the ordinary fit, since it comes without any.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from benchmarks.accuracy import Always
from benchmarks.accuracy_page import PAGE
from benchmarks.glm import DELTAS, EPSILONS, NARROW, PEOPLE, Cell, Floats, Sample, draw, fitted_openly
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon, Share
from privacy.budget.populations import Budget
from privacy.glm.inference import QUANTILE
from privacy.graph.forward import forward
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.plan import performance_of, plan_training
from privacy.jobs.spec import complete_training
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.plan_runner import run_plan
from privacy.training.rows import RowEncoder
from privacy.training.state import first_state, released_weights
from privacy.training.units import UnitTable

FILE = RESULTS / "glm-rival.jsonl"
BEGIN, END = "<!-- table of glm-rival.jsonl -->", "<!-- end of glm-rival.jsonl -->"
TRIAL = next(trial for trial in NARROW if trial.family == "logistic")
RUNS = 40
_HEAD = {"dataset": "dst_" + "a" * 26, "purpose": "research"}
_PROBES = pa.table(
    {"age": [40.0, 60.0, 40.0, 40.0, 40.0], "bmi": [20.0, 20.0, 30.0, 20.0, 20.0]}
    | {"sex": ["female", "female", "female", "male", "female"], "smoker": [False, False, False, False, True]}
    | {"event": [False] * 5}
)
WAYS: Mapping[str, Mapping[str, str]] = {"dp-sgd": {}, "dp-sgd, clip 2.5": {"clip": "2.5"}}
"""Recipes of the trained models."""
_APART = np.array([20.0, 10.0, 1.0, 1.0])
"""Rows that differ from the first in one column each, and by how much."""


class Rival:
    """A training job on the trial's people, planned once."""

    def __init__(self, people: int, epsilon: str, recipe: Mapping[str, str]) -> None:
        budget = Budget.allot(Epsilon.parse("10"), Delta.parse(DELTAS[people]))
        facts = DeclaredFacts(
            public_size=people, holdout_share=Share.zero(), rows_per_unit=1, order=budget.order, delta=budget.delta
        )
        asked = _HEAD | {
            "epsilon": epsilon,
            "label": "event",
            "model": {"template": "logistic"},
            "recipe": dict(recipe),
        }
        spec = complete_training(asked, TRIAL.schema, facts)
        self.model = spec.model_graph(TRIAL.schema)
        self.plan = plan_training(spec, TRIAL.schema, facts)
        self.encoder = RowEncoder(spec.features, TRIAL.schema)

    def slopes(self, sample: Sample) -> Floats:
        """The coefficients of one trained model, in the columns' own units."""
        units = UnitTable.of_records(self.encoder.encode(sample.table))
        engine = choose_engine(self.model, self.plan.loss, self.plan)
        performance = performance_of(self.plan, self.model)
        first, witness = first_state(self.model.graph), Witness(Claims.of(self.plan))
        state = run_plan(self.plan, performance, engine, units, Always(), first, witness)
        weights = released_weights(self.plan, self.model.graph, state)
        probes = self.encoder.encode(_PROBES).features
        predicted = np.asarray(forward(self.model, weights, probes), dtype=np.float64).ravel()
        return np.asarray((predicted[1:] - predicted[0]) / _APART)


class Way:
    """One way to coefficients, and what came of it."""

    def __init__(self) -> None:
        self.off: list[Floats] = []
        self.held: list[Floats] = []
        self.seconds, self.untold = 0.0, 0

    def add(self, values: Floats, errors: Floats, openly: Floats) -> None:
        """Keep one run: how far off it was, and whether its intervals held the truth."""
        apart = values - np.asarray(TRIAL.truth)[1:]
        self.off.append(apart / openly)
        self.held.append(np.abs(apart) <= QUANTILE * errors)


def lines(people: int, epsilon: str, runs: int) -> Iterator[dict[str, Any]]:
    """A result line for the GLM job, and for each way of DP-SGD."""
    source, cell = np.random.default_rng(), Cell(TRIAL, people, epsilon)
    rivals = {way: Rival(people, epsilon, recipe) for way, recipe in WAYS.items()}
    ways = {name: Way() for name in ("glm", *rivals)}
    for _ in range(runs):
        sample = draw(TRIAL, people, source)
        openly = fitted_openly(TRIAL, sample)[1:]
        _fit(ways["glm"], cell, sample, openly)
        for name, rival in rivals.items():
            start = time.process_time()
            slopes = rival.slopes(sample)
            ways[name].seconds += time.process_time() - start
            ways[name].add(slopes, openly, openly)
    for name, way in ways.items():
        yield {
            "task": "glm-or-sgd",
            "way": name,
            "people": people,
            "epsilon": epsilon,
            "delta": DELTAS[people],
            "error": round(float(np.sqrt(np.mean(np.square(way.off)))), 2),
            "coverage": round(float(np.mean(way.held)), 3),
            "untold": way.untold,
            "runs": runs,
            "cpu_seconds": round(way.seconds / runs, 3),
        }


def _fit(way: Way, cell: Cell, sample: Sample, openly: Floats) -> None:
    start = time.process_time()
    table = cell.released(sample)
    way.seconds += time.process_time() - start
    if table is None:
        way.untold += 1
    else:
        values, errors = (
            np.array([float(one[name]) for one in table[1:]]) for name in ("coefficient", "standard_error")
        )
        way.add(values, errors, openly)


def rows_of(found: list[dict[str, Any]]) -> list[str]:
    """The rows of the table on docs/BENCHMARKS.md."""
    return [
        f"| {one['people']:,} | {one['epsilon']} | {one['way']} | {one['error']:.2f} | {one['coverage']:.0%} |"
        f" {one['cpu_seconds']:.2f} | {one['runs']} |"
        for one in found
    ]


def page_with(page: str, found: list[dict[str, Any]]) -> str:
    """docs/BENCHMARKS.md with the table of these lines."""
    before, _, rest = page.partition(BEGIN)
    head = ["| people | epsilon | way | error | coverage | CPU seconds | runs |", "| --- " * 7 + "|"]
    return before + BEGIN + "\n" + "\n".join([*head, *rows_of(found)]) + "\n" + END + rest.partition(END)[2]


def main() -> None:
    """Measure, write, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two runs of each; nothing is written")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found = []
    for people in PEOPLE:
        for epsilon in EPSILONS:
            for line in lines(people, epsilon, 2 if quick else RUNS):
                found.append(line)
                sys.stdout.write(json.dumps(line) + "\n")
                sys.stdout.flush()
    sys.stdout.write("\n".join(rows_of(found)) + "\n")
    if not quick:
        FILE.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
