"""Part of `make bench-accuracy`: how much of a real table is in synthetic rows, and what can be learnt from them.

    python -m benchmarks.synthesis [--quick] [--runs N] [--way WAY ...] [--peer PYTHON] [--inference PYTHON]

Adult, its 32,561 training rows in declared cells, each way of making a table at the same epsilon and delta. `pairs` is
the total-variation distance between the real and the drawn rows' cells, averaged over all pairs of columns; `columns`
that of single columns. `auc` is that of a logistic regression learnt from as many drawn rows, on the 16,281 real rows
of the test split. `--peer` names an interpreter that has `dpmm`, `--inference` one that has `mbi`; without them their
lines are kept from an earlier run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks import synthesis_page
from benchmarks.accuracy_tasks import tasks
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon, Share
from privacy.budget.populations import Budget
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.measurements import Measurement, layout
from privacy.jobs.queries import Axis
from privacy.jobs.statistics_plan import plan_statistics
from privacy.jobs.statistics_spec import complete_statistics
from privacy.jobs.synthesis_plan import plan_synthesis
from privacy.jobs.synthesis_spec import complete_synthesis
from privacy.schema import ColumnKind, TableSchema
from privacy.statistics.measuring import add_rows
from privacy.statistics.rehearsal import empty_totals
from privacy.statistics.report import statistics_bytes
from privacy.statistics.runner import add_noise
from privacy.synthesis.report import Synthesis, synthesis_bytes
from privacy.synthesis.runner import counted, measured
from privgate.statistics import Statistics
from privgate.synthesis import synthetic_rows
from privgate.synthetic import SyntheticTable

FILE = RESULTS / "synthesis.jsonl"
SCRIPTS = Path(__file__).parent / "peers"
LABEL, POSITIVE = "income", ">50K"
EPSILONS = ("0.3", "1", "3")
PEER_EPSILONS = ("1", "3")
DELTA = "0.000001"
RUNS = 5
EDGES: Final[Mapping[str, Sequence[str]]] = {
    "age": ("20", "23", "26", "30", "35", "40", "45", "50", "55", "60", "65", "70"),
    "fnlwgt": ("50000", "100000", "150000", "200000", "250000", "300000", "400000", "600000"),
    "education-num": tuple(map(str, range(2, 16))),
    "capital-gain": ("1", "3000", "5000", "7000", "15000"),
    "capital-loss": ("1", "1600", "1820", "2000", "2300"),
    "hours-per-week": ("20", "30", "35", "40", "41", "46", "51", "60"),
}
"""Typed, not computed: those of the demo's features, and round numbers."""
_HEAD: Final = {"v": 1, "dataset": "dst_aaaaaaaaaaaaaaaaaaaaaaaaaa", "purpose": "research"}
Row: TypeAlias = Mapping[str, Any]
Cells: TypeAlias = "dict[str, NDArray[np.int64]]"


@dataclass(frozen=True, slots=True)
class Tables:
    """The real rows: those that a table is made of, and those that a model is judged on."""

    schema: TableSchema
    train: pa.Table
    test: pa.Table
    axes: tuple[Axis, ...]

    @classmethod
    def adult(cls) -> Tables:
        """Adult, as the demo declares it."""
        task = next(task for task in tasks() if task.name == "adult-logistic")
        train, test = task.tables()
        spec = complete_synthesis(_HEAD | {"kind": "synthesis", "epsilon": "1", "edges": EDGES}, task.schema)
        return cls(task.schema, train, test, spec.axes)

    def facts(self) -> DeclaredFacts:
        """What an owner would declare."""
        budget = Budget.allot(Epsilon.parse("10"), Delta.parse(DELTA))
        return DeclaredFacts(
            public_size=32_000,
            holdout_share=Share.parse("0"),
            rows_per_unit=1,
            order=budget.order,
            delta=budget.delta,
        )

    def exact(self, measurements: Sequence[Measurement]) -> list[NDArray[np.int64]]:
        """What a child would count."""
        totals = empty_totals(measurements)
        for batch in self.train.to_batches(8192):
            add_rows(totals, batch, measurements)
        return totals

    def cells(self, rows: Sequence[Row]) -> Cells:
        """The cell of each row in each column."""
        found = {}
        for axis in self.axes:
            values = [row[axis.column] for row in rows]
            if axis.texts:
                places = {text: place for place, text in enumerate(axis.texts)}
                found[axis.column] = np.array([places[value] for value in values], dtype=np.int64)
            else:
                edges = [float(edge.number) for edge in axis.edges]
                found[axis.column] = np.searchsorted(edges, np.array(values, dtype=np.float64), side="right")
        return found

    def from_cells(self, cells: Cells) -> list[dict[str, Any]]:
        """Rows in such cells, a number evenly within its own."""
        source, columns = np.random.default_rng(1), {}
        for axis in self.axes:
            places = cells[axis.column]
            if axis.texts:
                columns[axis.column] = [axis.texts[place] for place in places]
            else:
                limits = np.array([float(limit.number) for limit in axis.limits])
                low, high = limits[places], limits[places + 1]
                columns[axis.column] = np.floor(low + (high - low) * source.random(len(places))).tolist()
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


Way: TypeAlias = Callable[[Tables, str, int], "list[dict[str, Any]]"]
"""Rows at an epsilon, of a run."""


def _asked(of: Tables, epsilon: str, run: int, queries: Sequence[Mapping[str, Any]], **how: Any) -> list[Any]:
    spec = complete_statistics(_HEAD | {"kind": "statistics", "epsilon": epsilon, "queries": list(queries)}, of.schema)
    plan = plan_statistics(spec, of.facts())
    exact = of.exact(layout(spec.queries).measurements)
    told = Statistics.read(statistics_bytes(spec, plan, add_noise(plan, exact)))
    return list(synthetic_rows(told, of.schema, of.train.num_rows, run, **how))


def independent(of: Tables, epsilon: str, run: int) -> list[Any]:
    """Each column by itself: a histogram of each."""
    return _asked(of, epsilon, run, [{"kind": "profile", "edges": EDGES}])


def asked_pairs(of: Tables, epsilon: str, run: int) -> list[Any]:
    """Statistics of all 105 pairs, and the strongest tree among them."""
    names = [axis.column for axis in of.axes]
    return _asked(of, epsilon, run, [{"kind": "pairs", "columns": names, "edges": EDGES}])


def asked_label(of: Tables, epsilon: str, run: int) -> list[Any]:
    """Statistics of each column with the label, and rows around it."""
    names = [axis.column for axis in of.axes if axis.column != LABEL]
    queries = [{"kind": "histogram", "columns": [name, LABEL], "edges": EDGES} for name in names]
    cut = [query | ({} if query["columns"][0] in EDGES else {"edges": {}}) for query in queries]
    return _asked(of, epsilon, run, cut, around=LABEL)


def released(of: Tables, epsilon: str, around: str | None) -> Synthesis:
    """What a job of kind `synthesis` releases."""
    body = _HEAD | {"kind": "synthesis", "epsilon": epsilon, "edges": EDGES}
    spec = complete_synthesis(body if around is None else body | {"around": around}, of.schema)
    plan = plan_synthesis(spec, of.facts())
    return Synthesis(spec, plan, counted(spec, plan, of.exact(measured(spec))))


def synthesised(around: str | None) -> Way:
    """Rows of such a release."""

    def rows(of: Tables, epsilon: str, run: int) -> list[Any]:
        found = released(of, epsilon, around)
        file = synthesis_bytes(found.spec, found.plan, found.counted)
        return list(SyntheticTable.read(file).rows(of.schema, of.train.num_rows, run))

    return rows


WAYS: Final[Mapping[str, Way]] = {
    "independent": independent,
    "asked-pairs": asked_pairs,
    "asked-label": asked_label,
    "mst": synthesised(None),
    "mst-around": synthesised(LABEL),
}
PEERS: Final = ("dpmm-mst", "dpmm-aim")
INFERENCES: Final[Mapping[str, str | None]] = {"mst-mbi": None, "mst-around-mbi": LABEL}
ORDER: Final = ("real", *WAYS, *INFERENCES, *PEERS)


def peer(python: str, method: str) -> Way:
    """Another library, in its own environment, on the same cells."""

    def rows(of: Tables, epsilon: str, run: int) -> list[Any]:  # noqa: ARG001 - a way's
        def write(source: Path) -> None:
            np.savez(source, **of.cells(of.train.to_pylist()), cells=np.array([axis.cells for axis in of.axes]))

        return of.from_cells(_elsewhere([python, str(SCRIPTS / "marginals.py"), method, epsilon, DELTA], write, "npz"))

    return rows


def inferred(python: str, around: str | None) -> Way:
    """Another library's inference on such a release."""

    def rows(of: Tables, epsilon: str, run: int) -> list[Any]:  # noqa: ARG001 - a way's
        found = released(of, epsilon, around)
        names, centre = [axis.column for axis in found.spec.columns], [] if around is None else [around]
        single, pair = float(found.plan.column_deviation.number), float(found.plan.pair_deviation.number)
        counts = [
            {"noisy": noisy, "columns": [*centre, name], "deviation": single}
            for noisy, name in zip(found.counted.columns, names, strict=True)
        ] + [
            {"noisy": one.noisy, "columns": [*centre, *(names[place] for place in one.pair)], "deviation": pair}
            for one in found.counted.tree
        ]
        told = {
            "names": [axis.column for axis in of.axes],
            "cells": [axis.cells for axis in of.axes],
            "rows": of.train.num_rows,
            "measured": counts,
        }
        command = [python, str(SCRIPTS / "inference.py")]
        return of.from_cells(_elsewhere(command, lambda path: path.write_text(json.dumps(told)), "json"))

    return rows


def _elsewhere(command: Sequence[str], write: Callable[[Path], object], form: str) -> Cells:
    """The cells that another environment's script draws."""
    with tempfile.TemporaryDirectory(prefix="privgate-peer-") as name:
        source, sink = Path(name) / f"in.{form}", Path(name) / "out.npz"
        write(source)
        subprocess.run([*command, str(source), str(sink)], check=True, capture_output=True)
        return dict(np.load(sink))


def distances(of: Tables, real: Cells, drawn: Cells) -> tuple[float, float]:
    """Total-variation distance of pairs and of columns, each averaged."""

    def apart(*axes: Axis) -> float:
        shares = []
        for cells in (real, drawn):
            place, width = np.zeros(len(cells[axes[0].column]), dtype=np.int64), 1
            for axis in axes:
                place, width = place * axis.cells + cells[axis.column], width * axis.cells
            shares.append(np.bincount(place, minlength=width) / len(place))
        return float(np.abs(shares[0] - shares[1]).sum() / 2)

    pairs = [apart(*pair) for pair in itertools.combinations(of.axes, 2)]
    return statistics.fmean(pairs), statistics.fmean(apart(axis) for axis in of.axes)


def learnt(of: Tables, rows: Sequence[Row]) -> float:
    """AUC on the real test rows of what such rows teach."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    numeric = {column.name for column in of.schema.columns if column.kind is ColumnKind.NUMERIC}

    def read(these: Sequence[Row]) -> tuple[list[dict[str, Any]], list[bool]]:
        kept = [{n: float(v) if n in numeric else v for n, v in row.items() if n != LABEL} for row in these]
        return kept, [row[LABEL] == POSITIVE for row in these]

    model = make_pipeline(DictVectorizer(sparse=False), StandardScaler(), LogisticRegression(max_iter=200))
    model.fit(*read(rows))
    tests, truth = read(of.test.to_pylist())
    return float(roc_auc_score(truth, model.predict_proba(tests)[:, 1]))


def lines(of: Tables, ways: Mapping[str, tuple[Way, Sequence[str]]], runs: int) -> Iterator[dict[str, Any]]:
    """A result line for each way and epsilon."""
    train = of.train.to_pylist()
    real = of.cells(train)
    yield {"way": "real", "epsilon": None, "pairs": 0.0, "columns": 0.0, "auc": round(learnt(of, train), 4), "runs": 1}
    for name, (way, epsilons) in ways.items():
        for epsilon in epsilons:
            found, start = [], time.perf_counter()
            for run in range(runs):
                rows = way(of, epsilon, run)
                found.append((*distances(of, real, of.cells(rows)), learnt(of, rows)))
            pairs, columns, auc = (list(each) for each in zip(*found, strict=True))
            yield {
                "way": name,
                "epsilon": epsilon,
                "delta": DELTA,
                "pairs": round(statistics.fmean(pairs), 4),
                "columns": round(statistics.fmean(columns), 4),
                "auc": round(statistics.fmean(auc), 4),
                "auc_least": round(min(auc), 4),
                "auc_most": round(max(auc), 4),
                "runs": runs,
                "seconds": round((time.perf_counter() - start) / runs, 1),
            }


def main() -> None:
    """Measure, keep the lines and renew the page; `--quick` prints alone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--peer", help="an interpreter that has dpmm")
    parser.add_argument("--inference", help="an interpreter that has mbi")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--way", action="append", choices=ORDER[1:])
    given = parser.parse_args()
    of = Tables.adult()
    ways: dict[str, tuple[Way, Sequence[str]]] = {name: (way, EPSILONS) for name, way in WAYS.items()}
    if given.peer:
        ways |= {name: (peer(given.peer, name.partition("-")[2]), PEER_EPSILONS) for name in PEERS}
    if given.inference:
        ways |= {name: (inferred(given.inference, around), PEER_EPSILONS) for name, around in INFERENCES.items()}
    chosen = {name: way for name, way in ways.items() if not given.way or name in given.way}
    found = {}
    for line in lines(of, chosen, 1 if given.quick else given.runs):
        print(json.dumps(line), flush=True)
        found[line["way"], line["epsilon"]] = line
    if not given.quick:
        synthesis_page.renew(FILE, found, ORDER)


if __name__ == "__main__":
    sys.exit(main())
