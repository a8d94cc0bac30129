"""The accuracy benchmark: its figures by hand, published splits as they are, and lines that a run would write."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import accuracy, accuracy_diabetes, accuracy_page, accuracy_tasks
from benchmarks.accuracy_reference import trained_openly
from benchmarks.accuracy_tasks import ADULT, DELTAS, Task, tasks
from benchmarks.lines import RESULTS
from kernel.errors import NotFoundError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.spec import ModelGraph
from privacy.jobs.spec import Loss
from privacy.schema import TableSchema
from privacy.training.rows import RowEncoder, Rows
from privacy.training.state import first_state, released_weights
from privacy.training.units import UnitTable
from privgate.demo.tables import declared
from tests.support.graphs import graph, node, weight
from tests.support.sources import ROOT

DATA = Path(os.environ.get("PRIVGATE_TEST_DATA", ROOT / "../shared/data"))
LINES = [json.loads(line) for line in (RESULTS / "accuracy.jsonl").read_text(encoding="utf-8").splitlines()]
MEMBERS = ["task", "epsilon", "delta", "unit", "metric", "mean", "sd", "runs", "cpu_seconds"]


# --- figures ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(pairs: list[tuple[int, bool]]) -> None:
    """Counted pair by pair; a tie is half a pair."""
    above = [score for score, positive in pairs if positive]
    below = [score for score, positive in pairs if not positive]
    if not above or not below:
        return
    expected = statistics.fmean((a > b) + (a == b) / 2 for a, b in itertools.product(above, below))
    scores = np.array([[float(score)] for score, _ in pairs])
    targets = np.array([float(positive) for _, positive in pairs], dtype=np.float32)
    assert accuracy.auc(scores, targets) == pytest.approx(expected)


def test_accuracy_is_the_share_of_largest_scores_that_are_right() -> None:
    """Two of three."""
    scores = np.array([[0.1, 0.9, 0.0], [3.0, 2.0, 1.0], [-1.0, -2.0, -0.5]])
    assert accuracy.accuracy(scores, np.array([1, 0, 1], dtype=np.float32)) == pytest.approx(2 / 3)


def test_scores_of_blocks_are_those_of_all_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the rows, whatever the number of them."""
    monkeypatch.setattr(accuracy, "_ROWS_AT_ONCE", 7)
    model = _linear(4)
    draw = np.random.default_rng(1)
    weights = {"l.w": draw.normal(size=(3, 4)).astype(np.float32), "l.b": np.ones(3, dtype=np.float32)}
    for count in (1, 7, 8, 40):
        rows = _rows(draw.normal(size=(count, 4)), np.zeros(count))
        assert np.allclose(accuracy.scored(model, weights, rows), forward(model, weights, rows.features))


def _linear(width: int, outputs: int = 3) -> Any:
    nodes = [node("l", "linear", ["x"], ["l.w", "l.b"])]
    weights = [weight("l.w", outputs, width), weight("l.b", outputs)]
    return check(ModelGraph.from_json(graph([width], weights, nodes, "l")))


def _rows(features: Any, targets: Any) -> Rows:
    return Rows(
        features=features.astype(np.float32), targets=targets.astype(np.float32), alive=np.ones(len(targets), np.bool_)
    )


def test_the_reference_learns_without_the_product() -> None:
    """A dozen passes of Adam tell three separable classes apart; the start is the model's own."""
    draw = np.random.default_rng(4)
    kinds = draw.integers(0, 3, 600)
    rows = _rows(np.eye(3)[kinds] * 2 + draw.normal(0, 0.3, (600, 3)), kinds)
    model = _linear(3)
    weights = trained_openly(model, Loss.SOFTMAX, rows)
    assert accuracy.accuracy(accuracy.scored(model, weights, rows), rows.targets) > 0.95


# --- tasks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of a test's own."""
    monkeypatch.setenv("PRIVGATE_TEST_DATA", str(tmp_path))
    return tmp_path


def _write_images(folder: Path, split: str, digits: list[int]) -> None:
    (folder / "mnist").mkdir(exist_ok=True)
    pixels = np.repeat(np.array(digits, dtype=np.uint8), 28 * 28) * 10 + np.arange(len(digits) * 28 * 28) % 7
    for name, header, content in (("images-idx3", 16, pixels), ("labels-idx1", 8, np.array(digits))):
        path = folder / "mnist" / f"{split}-{name}-ubyte.gz"
        path.write_bytes(gzip.compress(b"\xff" * header + content.astype(np.uint8).tobytes()))


def test_images_are_read_from_the_published_split(data: Path) -> None:
    """Training from `train`, testing from `t10k`, headers skipped, each image beside its own digit."""
    _write_images(data, "train", [3, 0, 9])
    _write_images(data, "t10k", [7, 1])
    for task in tasks():
        if not task.name.startswith("mnist"):
            continue
        train, test = task.tables()
        assert (train["digit"].to_pylist(), test["digit"].to_pylist()) == (["3", "0", "9"], ["7", "1"])
        for table in (train, test):
            for image, digit in zip(table["image"].to_pylist(), table["digit"].to_pylist(), strict=True):
                assert len(image) == 28 * 28
                assert all(0 <= pixel - 10 * int(digit) < 7 for pixel in image)


def test_without_the_data_it_says_what_to_set(data: Path) -> None:
    """And nothing is made up in its place."""
    assert not list(data.iterdir())
    for task in tasks():
        with pytest.raises(NotFoundError, match="PRIVGATE_TEST_DATA"):
            task.tables()


def test_adult_is_split_as_it_was_published_and_filled_as_declared(data: Path) -> None:
    """`adult.data` trains, `adult.test` tests; a missing value becomes what the schema says."""
    (data / "adult").mkdir()
    row = (
        "{age}, ?, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, 2174, 0, 40, "
        "United-States, {income}\n"
    )
    for name, ages, end in (("adult.data.gz", (39, 50), ""), ("adult.test.gz", (25,), ".")):
        text = "".join(row.format(age=age, income=">50K" + end) for age in ages)
        (data / "adult" / name).write_bytes(gzip.compress(text.encode()))
    train, test = tasks()[0].tables()
    assert (train["age"].to_pylist(), test["age"].to_pylist()) == ([39, 50], [25])
    for table in (train, test):
        assert set(table["workclass"].to_pylist()) == {"unknown"}
        assert set(table["income"].to_pylist()) == {">50K"}


@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="needs the real data in PRIVGATE_TEST_DATA")
def test_the_real_digits_are_sixty_and_ten_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    """And of ten kinds in both."""
    monkeypatch.setenv("PRIVGATE_TEST_DATA", str(DATA))
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        table = accuracy_tasks._images(split)
        assert table.num_rows == count
        assert len(table["digit"].unique()) == 10


def test_adults_recipe_is_the_demos() -> None:
    """Whoever runs the demo trains the model of the table, but for the rate, which the benchmark says as a batch."""
    demo = declared("adult").training["recipe"]
    assert set(ADULT) - set(demo) == {"expected_batch"}
    assert {name: str(value) for name, value in demo.items() if name in ADULT} == {
        name: str(value) for name, value in ADULT.items() if name != "expected_batch"
    }


# --- lines -----------------------------------------------------------------------------------------------------------

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "number", "kind": "numeric", "low": "0", "high": "1000"},
            {"name": "side", "kind": "boolean"},
        ]
    }
)
TRAIN, TEST = range(400), range(500, 560)


def _table(numbers: range) -> pa.Table:
    values = np.array(numbers, dtype=np.float64)
    return pa.table({"number": pa.array(values), "side": pa.array(values % 3 > 1)})


def _task(name: str = "made-up") -> Task:
    label = {"column": "side", "encoding": "positive", "category": "true"}
    features = {"v": 1, "columns": [{"column": "number", "transform": "scale"}], "label": label}
    body = accuracy_tasks._common() | {"model": {"template": "logistic"}, "features": features, "recipe": {"steps": 2}}
    return Task(
        name=name, metric="auc", epsilons=("1", "3"), schema=SCHEMA, public_size=400, body=body,
        tables=lambda: (_table(TRAIN), _table(TEST)),
    )  # fmt: skip


def _numbers(rows: Rows) -> list[int]:
    return np.rint((rows.features[:, 0] + 1) * 500).astype(int).tolist()  # type: ignore[no-any-return]


def test_every_run_trains_on_all_of_the_training_split_and_is_judged_on_all_of_the_test_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five private runs for each budget, one open one; none sees a test row before its weights are final."""
    trained_on, judged_on = [], []

    def private(plan: Any, model: Any, units: UnitTable) -> Any:
        trained_on.append(_numbers(units.rows))
        return released_weights(plan, model.graph, first_state(model.graph))

    def openly(model: Any, _: Any, rows: Rows) -> Any:
        trained_on.append(_numbers(rows))
        return {w.name: np.ones(w.shape, np.float32) for w in model.graph.weights}

    def judged(model: Any, weights: Any, rows: Rows) -> Any:
        judged_on.append(_numbers(rows))
        return forward(model, weights, rows.features)

    monkeypatch.setattr(accuracy, "_trained", private)
    monkeypatch.setattr(accuracy, "trained_openly", openly)
    monkeypatch.setattr(accuracy, "scored", judged)
    found = list(accuracy.lines(_task(), 5))
    assert all(numbers == list(TRAIN) for numbers in trained_on)
    assert all(numbers == list(TEST) for numbers in judged_on)
    assert len(trained_on) == len(judged_on) == 2 * 2 * 5 + 1
    assert [(line["delta"], line["epsilon"]) for line in found] == [
        *itertools.product(DELTAS, ("1", "3")), (None, None),
    ]  # fmt: skip
    assert [line["runs"] for line in found] == [5, 5, 5, 5, 1]
    assert all(list(line) == MEMBERS for line in found)
    assert {line["mean"] for line in found[:4]} == {0.5}  # weights that start at zero tell nobody apart


@pytest.mark.parametrize("quick", [False, True])
def test_tasks_that_were_not_chosen_keep_their_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that were chosen are replaced as a whole; a quick run prints one run and writes nothing."""
    path = tmp_path / "accuracy.jsonl"
    earlier = [{"task": "kept", "mean": 0.1}, {"task": "made-up", "mean": 0.2}, {"task": "made-up", "mean": 0.3}]
    path.write_text("".join(json.dumps(line) + "\n" for line in earlier), encoding="utf-8")
    before, asked = path.read_bytes(), []

    def lines(task: Task, runs: int) -> Iterator[dict[str, Any]]:
        asked.append((task.name, runs))
        yield {"task": task.name, "mean": 0.9}

    monkeypatch.setattr(accuracy, "RESULTS", tmp_path)
    monkeypatch.setattr(accuracy_page, "write", lambda _: None)
    monkeypatch.setattr(accuracy, "tasks", lambda: [_task("kept"), _task()])
    monkeypatch.setattr(accuracy, "lines", lines)
    for name in ("set_num_threads", "set_flush_denormal"):
        monkeypatch.setattr(torch, name, lambda _: None)
    monkeypatch.setattr(sys, "argv", ["accuracy", "--task", "made-up", *(["--quick"] if quick else [])])
    accuracy.main()
    assert asked == [("made-up", 1 if quick else accuracy.RUNS)]
    assert json.loads(capsys.readouterr().out) == {"task": "made-up", "mean": 0.9}
    if quick:
        assert path.read_bytes() == before
    else:
        assert [json.loads(line) for line in path.read_text().splitlines()] == [
            earlier[0],
            {"task": "made-up", "mean": 0.9},
        ]


def test_the_committed_lines_are_of_this_script() -> None:
    """Each of a declared task, budget and metric, at most once, by as many runs as the script takes."""
    known = {task.name: task for task in tasks()}
    assert len({(line["task"], line["epsilon"], line["delta"]) for line in LINES}) == len(LINES)
    assert {line["task"] for line in LINES} == set(known)
    for line in LINES:
        task = known[line["task"]]
        assert list(line) == MEMBERS
        assert (line["metric"], line["unit"]) == (task.metric, task.unit)
        private = line["epsilon"] is not None
        assert not private or (line["epsilon"] in task.epsilons and line["delta"] in task.deltas)
        assert line["runs"] == (accuracy.RUNS if private else 1)
        assert (line["sd"] is None, line["delta"] is None, line["cpu_seconds"] is None) == (not private,) * 3
        assert 0.5 < line["mean"] < 1


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "diabetes130").is_dir(), reason="needs the real data in PRIVGATE_TEST_DATA")
def test_diabetes_is_split_by_patient_and_the_unit_is_the_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is on both sides; every row fits what was declared; a patient's rows are one unit, five at most."""
    monkeypatch.setenv("PRIVGATE_TEST_DATA", str(DATA))
    train, test = accuracy_diabetes.tables()
    assert train.num_rows + test.num_rows == 101_766
    names = [set(table[accuracy_diabetes.UNIT].to_pylist()) for table in (train, test)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 71_518
    assert 0.19 < len(names[1]) / 71_518 < 0.21
    (patients,) = (task for task in tasks() if task.name == "diabetes130-patient")
    spec, _ = accuracy._spec(patients, "3", "0.000001")
    rows = RowEncoder(spec.features, patients.schema).encode(train)
    assert rows.alive.all()
    units = accuracy._units(patients, train, rows)
    assert len(units) == len(names[0])
    assert units.gather(np.arange(500)).counts.shape == (500, 5)


@pytest.mark.parametrize(
    ("code", "chapter"),
    [("?", "none"), ("250.83", "diabetes"), ("249", "from-240"), ("251", "from-240"), ("V57", "supplementary"),
     ("E909", "external"), ("139", "from-1"), ("140", "from-140"), ("999", "from-800"), ("428", "from-390")],
)  # fmt: skip
def test_diagnoses_are_told_by_their_chapter(code: str, chapter: str) -> None:
    """Of ICD-9, as published; diabetes apart."""
    assert accuracy_diabetes.chapter(code) == chapter


def test_tasks_are_values() -> None:
    """Asking for them twice gives the same settings, but for the data set's made-up name."""
    for one, two in zip(tasks(), tasks(), strict=True):
        assert dataclasses.replace(one, body={}, tables=two.tables) == dataclasses.replace(two, body={})
        assert {n: v for n, v in one.body.items() if n != "dataset"} == {
            n: v for n, v in two.body.items() if n != "dataset"
        }
