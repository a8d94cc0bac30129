"""What a quote's word is worth: made-up tables, private models at many sizes, and what noise left of them.

    python -m benchmarks.feasibility [--quick]

Each run goes through the product's own completion, plan, engine and run with default recipes. The rows are made up: a
label that four of the columns tell with an AUC of about 0.87 (`clear`) or 0.65 (`faint`), and nothing better. `kept` is
the part of what that is better than chance that the private model has, on 4,000 further rows: (auc - 1/2) over (auc of
the rule that made the labels - 1/2). Lines go to `results/feasibility.jsonl`; docs/MODELS.md has the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks.accuracy import Always, auc, scored
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon, Share
from kernel.ids import DatasetId
from privacy.budget.populations import Budget
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.feasibility import Feasibility, clarity, training_word
from privacy.jobs.plan import performance_of, plan_training
from privacy.jobs.spec import TrainingSpec, complete_training
from privacy.schema import TableSchema
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.choosing import choose_engine
from privacy.training.plan_runner import run_plan
from privacy.training.rows import RowEncoder, Rows
from privacy.training.state import first_state, released_weights
from privacy.training.units import UnitTable

FILE = RESULTS / "feasibility.jsonl"
DELTA = Delta.parse("0.000001")
MODELS: dict[str, dict[str, Any]] = {
    "logistic": {"template": "logistic"},
    "mlp": {"template": "mlp", "hidden": [32], "activation": "tanh"},
}
SIGNALS = {"clear": 3.4, "faint": 1.0}
SIZES = (100, 300, 1000, 4000, 16_000)
COLUMNS = (4, 16, 64)
EPSILONS = ("0.1", "0.3", "1", "3")
RUNS = 3
_TESTS = 4000
_MATTER = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One size of everything."""

    model: str
    signal: str
    people: int
    columns: int
    epsilon: str


def cases() -> Iterator[Case]:
    """Every combination."""
    for of in itertools.product(MODELS, SIGNALS, SIZES, COLUMNS, EPSILONS):
        yield Case(*of)


def line(case: Case, runs: int) -> dict[str, Any]:
    """One result line: the plan's clarity and word, and what was kept in each run."""
    kept = [_kept(case) for _ in range(runs)]
    spec, facts = _request(case)
    plan = plan_training(spec, _schema(case), facts)
    return {
        "model": case.model,
        "signal": case.signal,
        "people": case.people,
        "weights": plan.size.parameters,
        "epsilon": case.epsilon,
        "clarity": round(clarity(plan), 2),
        "word": training_word(plan).value,
        "kept": [round(share, 3) for share in kept],
    }


def _kept(case: Case) -> float:
    spec, facts = _request(case)
    schema = _schema(case)
    plan, model = plan_training(spec, schema, facts), spec.model_graph(schema)
    encoder = RowEncoder(spec.features, schema)
    rng = np.random.default_rng()
    truth = rng.normal(size=_MATTER)
    truth *= SIGNALS[case.signal] / np.linalg.norm(truth)
    rows, _ = _rows(case, encoder, rng, truth, case.people)
    tests, best = _rows(case, encoder, rng, truth, _TESTS)
    witness = Witness(Claims.of(plan))
    units = UnitTable.of_records(rows)
    engine = choose_engine(model, plan.loss, plan)
    state = run_plan(plan, performance_of(plan, model), engine, units, Always(), first_state(model.graph), witness)
    private = auc(scored(model, released_weights(plan, model.graph, state), tests), tests.targets)
    return (private - 0.5) / (auc(best, tests.targets) - 0.5)


def _request(case: Case) -> tuple[TrainingSpec, DeclaredFacts]:
    budget = Budget.allot(Epsilon.parse("8"), DELTA)
    facts = DeclaredFacts(
        public_size=case.people, holdout_share=Share.parse("0"), rows_per_unit=1, order=budget.order, delta=DELTA
    )
    body = {
        "dataset": str(DatasetId.new(os.urandom)),
        "purpose": "research",
        "epsilon": case.epsilon,
        "label": "label",
        "model": MODELS[case.model],
    }
    return complete_training(body, _schema(case), facts), facts


def _schema(case: Case) -> TableSchema:
    numbers = [{"name": f"c{n}", "kind": "numeric", "low": "-1", "high": "1"} for n in range(case.columns)]
    return TableSchema.from_json(
        {"columns": [*numbers, {"name": "label", "kind": "categorical", "categories": ["no", "yes"]}]}
    )


def _rows(
    case: Case, encoder: RowEncoder, rng: np.random.Generator, truth: NDArray[np.float64], count: int
) -> tuple[Rows, NDArray[np.float64]]:
    """Rows whose label follows from four columns, and the best score that there is; the other columns tell nothing."""
    values = rng.uniform(-1, 1, size=(count, case.columns))
    best = values[:, :_MATTER] @ truth
    label = rng.random(count) < 1 / (1 + np.exp(-best))
    columns = {f"c{n}": pa.array(values[:, n]) for n in range(case.columns)}
    return encoder.encode(pa.table(columns | {"label": pa.array(np.where(label, "yes", "no"))})), best[:, None]


def summary(lines: list[dict[str, Any]]) -> list[str]:
    """For each model, signal and word, how much was kept: the median, and the tenth and ninetieth of a hundred runs."""
    said = []
    for model, signal, word in itertools.product(MODELS, SIGNALS, Feasibility):
        of = (line for line in lines if (line["model"], line["signal"], line["word"]) == (model, signal, word))
        kept = [share for line in of for share in line["kept"]]
        if len(kept) > 1:
            low, *_, high = statistics.quantiles(kept, n=10)
            figures = f"{statistics.median(kept):.2f} | {low:.2f} to {high:.2f}"
            said.append(f"| {model} | {signal} | {word} | {len(kept)} | {figures} |")
    return said


def main() -> None:
    """Measure, write, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one run of each; nothing is written")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found = []
    for case in cases():
        found.append(line(case, 1 if quick else RUNS))
        sys.stdout.write(json.dumps(found[-1]) + "\n")
        sys.stdout.flush()
    sys.stdout.write("\n".join(summary(found)) + "\n")
    if not quick:
        FILE.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")


if __name__ == "__main__":
    main()
