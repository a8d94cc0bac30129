"""`make bench-accuracy`: what private models reach on public tasks; results in `results/accuracy.jsonl`.

    python -m benchmarks.accuracy [--quick] [--task NAME ...]

Each run goes through the product's own plan, engine and run, with fresh randomness from the operating system: there is
no seed, so runs take the place of seeds. Training uses the whole published training split, the metric the whole
published test split; how settings were chosen stands in `accuracy_tasks`. `cpu_seconds` is one run, features included.
A line whose epsilon is null is the same model trained without privacy (`accuracy_reference`), once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks import accuracy_page
from benchmarks.accuracy_reference import trained_openly
from benchmarks.accuracy_tasks import Task, tasks
from benchmarks.lines import RESULTS
from benchmarks.tasklines import arguments, chosen_of, keep, told
from kernel.amounts import Delta, Epsilon, Share
from privacy.budget.populations import Budget
from privacy.graph.check import CheckedGraph
from privacy.graph.forward import forward
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.plan import TrainingPlan, performance_of, plan_training
from privacy.jobs.spec import TrainingSpec, complete_training
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.plan_runner import run_plan
from privacy.training.rows import RowEncoder, Rows
from privacy.training.state import RunState, first_state, released_weights
from privacy.training.units import UnitTable

RUNS = 5
_ROWS_AT_ONCE = 2000


class Always:
    """A parent that always says go and keeps no savepoint."""

    def may_start(self, upto: int) -> bool:  # noqa: ARG002 - the protocol's name
        """Go."""
        return True

    def save(self, state: RunState) -> None:
        """Nothing is kept."""


def lines(task: Task, runs: int) -> Iterator[dict[str, Any]]:
    """Result lines of one task."""
    train, test = task.tables()
    encoder = RowEncoder(_spec(task, task.epsilons[0], task.deltas[0])[0].features, task.schema)
    start = time.process_time()
    rows = encoder.encode(train)
    units = _units(task, train, rows)
    encoding = time.process_time() - start
    tests = encoder.encode(test)
    for delta in task.deltas:
        for epsilon in task.epsilons:
            results = [_run(task, epsilon, delta, units, tests) for _ in range(runs)]
            scores, seconds = zip(*results, strict=True)
            yield _line(task, epsilon, delta, scores) | {"cpu_seconds": round(encoding + statistics.fmean(seconds), 2)}
    yield _line(task, None, None, [_open(task, rows, tests)]) | {"cpu_seconds": None}


def _units(task: Task, train: pa.Table, rows: Rows) -> UnitTable:
    if task.unit_column is None:
        return UnitTable.of_records(rows)
    numbers = train.column(task.unit_column).combine_chunks().dictionary_encode().indices
    return UnitTable.by_unit(rows, numbers.to_numpy().astype(np.int64), task.rows_per_unit)


def _line(task: Task, epsilon: str | None, delta: str | None, scores: Sequence[float]) -> dict[str, Any]:
    return {
        "task": task.name,
        "epsilon": epsilon,
        "delta": delta,
        "unit": task.unit,
        "metric": task.metric,
        "mean": round(statistics.fmean(scores), 5),
        "sd": round(statistics.stdev(scores), 5) if len(scores) > 1 else None,
        "runs": len(scores),
    }


def _open(task: Task, rows: Rows, tests: Rows) -> float:
    spec, _ = _spec(task, task.epsilons[0], task.deltas[0])
    model = spec.model_graph(task.schema)
    return METRICS[task.metric](scored(model, trained_openly(model, spec.loss, rows), tests), tests.targets)


def _spec(task: Task, epsilon: str, delta: str) -> tuple[TrainingSpec, DeclaredFacts]:
    budget = Budget.allot(Epsilon.parse("4"), Delta.parse(delta))
    facts = DeclaredFacts(
        public_size=task.public_size,
        holdout_share=Share.parse("0"),
        rows_per_unit=task.rows_per_unit,
        order=budget.order,
        delta=budget.delta,
    )
    return complete_training(task.body | {"epsilon": epsilon}, task.schema, facts), facts


def _run(task: Task, epsilon: str, delta: str, units: UnitTable, tests: Rows) -> tuple[float, float]:
    spec, facts = _spec(task, epsilon, delta)
    plan, model = plan_training(spec, task.schema, facts), spec.model_graph(task.schema)
    start = time.process_time()
    weights = _trained(plan, model, units)
    seconds = time.process_time() - start
    scores = scored(model, weights, tests)
    return METRICS[task.metric](scores, tests.targets), seconds


def _trained(plan: TrainingPlan, model: CheckedGraph, units: UnitTable) -> dict[str, NDArray[np.float32]]:
    engine = choose_engine(model, plan.loss, plan)
    state = run_plan(
        plan, performance_of(plan, model), engine, units, Always(), first_state(model.graph), Witness(Claims.of(plan))
    )
    return released_weights(plan, model.graph, state)


def scored(model: CheckedGraph, weights: dict[str, NDArray[np.float32]], rows: Rows) -> NDArray[np.float64]:
    """Scores of every row, a bounded number of rows at a time."""
    shape = model.graph.inputs[0].shape
    blocks = np.array_split(rows.features, max(1, len(rows.features) // _ROWS_AT_ONCE))
    return np.concatenate([forward(model, weights, block.reshape(len(block), *shape)) for block in blocks])


def auc(scores: NDArray[np.float64], targets: NDArray[np.float32]) -> float:
    """The rank statistic, ties counted one half."""
    positive = targets > 0.5
    _, place, counts = np.unique(scores[:, 0], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    few = int(positive.sum())
    return float((ranks[positive].sum() - few * (few + 1) / 2) / (few * (len(targets) - few)))


def accuracy(scores: NDArray[np.float64], targets: NDArray[np.float32]) -> float:
    """How often the largest score is the right class's."""
    return float(np.mean(scores.argmax(axis=1) == targets))


METRICS = {"auc": auc, "accuracy": accuracy}


def main() -> None:
    """Measure and write."""
    chosen = arguments(__doc__, "one run of each")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    runs = 1 if chosen.quick else RUNS
    found = told(line for task in chosen_of(tasks(), chosen.task) for line in lines(task, runs))
    if not chosen.quick:
        path = RESULTS / "accuracy.jsonl"
        keep(path, found)
        accuracy_page.write(path)


if __name__ == "__main__":
    main()
