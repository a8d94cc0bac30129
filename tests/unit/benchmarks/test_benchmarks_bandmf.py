"""The comparison with banded noise: sensitivity, noise and gradients by brute force, and a test split left alone."""

from __future__ import annotations

import itertools
import json
import math
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.linalg import toeplitz

from benchmarks import bandmf
from benchmarks.accuracy_tasks import Task
from benchmarks.bandmf import BANDS, DELTA, GRIDS, Grid, Setting, strategy, trained
from benchmarks.lines import RESULTS
from kernel.amounts import Delta, Epsilon
from kernel.events import Parameter
from privacy.accounting.calibration import calibrate, sampled_gaussian
from privacy.schema import TableSchema
from privacy.training.rows import Rows
from tests.support.sources import ROOT

LINES = [json.loads(line) for line in (RESULTS / "bandmf.jsonl").read_text(encoding="utf-8").splitlines()]


def matrix(coefficients: Any, steps: int) -> Any:
    """The strategy as a lower-triangular banded matrix."""
    column = np.zeros(steps)
    column[: len(coefficients)] = coefficients[:steps]
    return np.tril(toeplitz(column))


# --- the strategy ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("band", "steps"), [(2, 6), (3, 7), (4, 16)])
def test_the_error_is_that_of_prefix_sums(band: int, steps: int) -> None:
    """By matrices: the sums' noise is A C^-1 z, z as large as a column of C is long."""
    coefficients = np.array([1.0, 0.4, 0.3, 0.2][:band])
    noise = np.tril(np.ones((steps, steps))) @ np.linalg.inv(matrix(coefficients, steps))
    expected = math.log((noise**2).sum()) + math.log((coefficients**2).sum())
    found = bandmf._error(torch.tensor(coefficients, dtype=torch.float64), steps)
    assert float(found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("band", BANDS[1:])
def test_a_strategy_is_better_than_no_band_and_than_its_neighbours(band: int) -> None:
    """First coefficient 1, as many as the band is wide; a small change of any other makes the error larger."""
    steps = 3 * band
    coefficients = strategy(band, steps)
    assert coefficients.shape == (band,)
    assert coefficients[0] == 1
    least = float(bandmf._error(torch.tensor(coefficients), steps))
    assert least < math.log(steps * (steps + 1) / 2)
    for place, change in itertools.product(range(1, band), (-0.02, 0.02)):
        other = coefficients.copy()
        other[place] += change
        assert float(bandmf._error(torch.tensor(other), steps)) > least


@pytest.mark.parametrize(("band", "steps"), [(2, 7), (3, 9), (4, 11)])
def test_one_person_moves_no_more_than_that_many_gaussian_steps(band: int, steps: int) -> None:
    """Over every group, set of its steps and sign: what a person adds to C x is at most ceil(T / b) columns long.

    Columns of one group do not overlap, so that whatever the signs are nothing adds up beyond the sum of squares.
    """
    coefficients = strategy(band, steps)
    length, whole = float((coefficients**2).sum()), matrix(coefficients, steps)
    reached = 0.0
    for group in range(band):
        meets = list(range(group, steps, band))
        assert len(meets) <= math.ceil(steps / band)
        for part in itertools.product((-1, 0, 1), repeat=len(meets)):
            moved = whole[:, meets] @ np.array(part)
            assert moved @ moved <= sum(map(abs, part)) * length + 1e-12
            reached = max(reached, float(moved @ moved))
    assert reached > (math.ceil(steps / band) - 1) * length


def test_a_person_of_two_neighbouring_steps_would_move_more() -> None:
    """So the groups are needed: without them the price would be too small."""
    whole, coefficients = matrix(strategy(4, 12), 12), strategy(4, 12)
    moved = whole[:, [0, 1]].sum(axis=1)
    assert moved @ moved > 2 * (coefficients**2).sum() * 1.1


@pytest.mark.parametrize("band", [1, 4])
def test_noise_is_calibrated_for_the_steps_of_one_group(band: int) -> None:
    """As ceil(T / b) Poisson steps at rate b B / N by the product's accountant, times the column's length."""
    deviation, coefficients = bandmf._noise(band, 100, 8000, 18, "3")
    rate = Parameter(str(band * 100 / 8000))
    steps = math.ceil(18 / band)
    multiplier = float(calibrate(sampled_gaussian(rate, steps), Epsilon.parse("3"), Delta.parse(DELTA)).number)
    assert deviation == pytest.approx(multiplier * math.sqrt(sum(c * c for c in coefficients)))
    assert len(coefficients) == band


# --- a run -----------------------------------------------------------------------------------------------------------


def rows(count: int, width: int, classes: int, seed: int = 3) -> Rows:
    """Random rows; whole targets."""
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(count, width)).astype(np.float32)
    targets = draw.integers(0, max(2, classes), count).astype(np.float32)
    return Rows(features=features, targets=targets, alive=np.ones(count, dtype=np.bool_))


class Draws:
    """A generator that keeps the normal numbers it gave."""

    def __init__(self, real: Any) -> None:
        self._real, self.normals = real, []  # type: tuple[Any, list[Any]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def standard_normal(self, shape: Any) -> Any:
        """Draw, and keep."""
        self.normals.append(self._real.standard_normal(shape))
        return self.normals[-1]


def test_noise_is_filtered_by_the_inverse_and_each_step_samples_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """With gradients of zero the weights move by the noise alone: C times it is fresh noise of one deviation.

    Who is sampled in step t belongs to group t mod b: over the run nobody is in steps of two groups.
    """
    people, grid = rows(60, 2, 1), Grid(passes=(3,), batches=(5,), rates=(1,), momenta=(0,), clip=0.5, classes=1)
    setting = Setting(band=3, batch=5, rate=2.0, momentum=0, averaged=False)
    draws, seen, met = Draws(np.random.default_rng(8)), [], []  # type: tuple[Draws, list[Any], list[Any]]

    def still(_: Rows, chosen: Any, __: Any, weights: Any, clip: float) -> Any:
        assert clip == grid.clip
        seen.append(weights.copy())
        met.append(set(chosen.tolist()))
        return np.zeros_like(weights)

    monkeypatch.setattr(bandmf, "_clipped", still)
    monkeypatch.setattr(np.random, "default_rng", lambda: draws)
    last = trained(people, setting, grid, 3, "3")
    steps = len(seen)
    noise = -np.diff(np.stack([*seen, last]).reshape(steps + 1, -1), axis=0) * setting.batch / setting.rate
    deviation, coefficients = bandmf._noise(3, 5, 60, steps, "3")
    fresh = np.stack(draws.normals).reshape(steps, -1) * deviation * grid.clip
    assert steps == 36
    assert np.allclose(matrix(coefficients, steps) @ noise, fresh, atol=1e-9 * deviation)
    groups = [set().union(*met[at :: setting.band]) for at in range(setting.band)]
    assert sum(map(len, groups)) == len(set().union(*groups)) > 50


@pytest.mark.parametrize("classes", [1, 4])
def test_gradients_are_clipped_row_by_row(classes: int) -> None:
    """Against autograd on each row alone: the sum of what is left after shortening, bias included."""
    people, clip = rows(30, 5, classes), 0.8
    weights = np.random.default_rng(2).normal(size=(6, classes))
    lengths = np.einsum("ij,ij->i", people.features, people.features) + 1
    chosen = np.arange(3, 28)
    expected = np.zeros_like(weights)
    shortened = 0
    for at in chosen:
        leaf = torch.tensor(weights, requires_grad=True)
        scores = torch.tensor(people.features[at], dtype=torch.float64) @ leaf[:-1] + leaf[-1]
        target = torch.tensor(float(people.targets[at]), dtype=torch.float64)
        one = torch.nn.functional.binary_cross_entropy_with_logits
        loss = one(scores[0], target) if classes == 1 else torch.logsumexp(scores, 0) - scores[int(target)]
        gradient = torch.autograd.grad(loss, leaf)[0].numpy()
        shortened += np.linalg.norm(gradient) > clip
        expected += gradient * min(1, clip / np.linalg.norm(gradient))
    assert 0 < shortened < len(chosen)
    assert np.allclose(bandmf._clipped(people, chosen, lengths, weights, clip), expected, atol=1e-5)


def test_accuracy_is_the_share_of_right_classes() -> None:
    """Two classes by the sign of one score, several by the largest."""
    features = np.array([[1.0], [-1.0], [2.0], [-3.0]], dtype=np.float32)
    alive = np.ones(4, dtype=np.bool_)
    two = Rows(features=features, targets=np.array([1, 0, 0, 0], dtype=np.float32), alive=alive)
    assert bandmf.accuracy(np.array([[1.0], [0.0]]), two) == 0.75
    three = Rows(features=features, targets=np.array([2, 0, 2, 1], dtype=np.float32), alive=alive)
    assert bandmf.accuracy(np.array([[-1.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), three) == 0.75


def test_both_sides_choose_from_one_grid() -> None:
    """The same settings but for the band; momentum is taken out of the rate; no rate of sampling above 1."""
    for grid in GRIDS.values():
        plain = list(bandmf._settings(grid, (1,), 30_000))
        banded = list(bandmf._settings(grid, (2,), 30_000))
        assert [(s.batch, s.rate, s.momentum, s.averaged) for s in plain] == [
            (s.batch, s.rate, s.momentum, s.averaged) for s in banded
        ]
        assert {round(s.rate / (1 - s.momentum), 9) for s in plain} == set(map(float, grid.rates))
    assert all(s.band * s.batch <= 1000 for s in bandmf._settings(GRIDS["adult-logistic"], BANDS, 1000))


# --- splits and lines ------------------------------------------------------------------------------------------------

SCHEMA = TableSchema.from_json(
    {
        "columns": [
            {"name": "number", "kind": "numeric", "low": "0", "high": "1000"},
            {"name": "side", "kind": "boolean"},
        ]
    }
)


def task_of(train: int, test: int) -> Task:
    """A task whose rows carry numbers: 0 ... for the training split, from 500 for the test split."""

    def table(first: int, count: int) -> pa.Table:
        numbers = np.arange(first, first + count, dtype=np.float64)
        return pa.table({"number": pa.array(numbers), "side": pa.array(numbers % 2 > 0)})

    label = {"column": "side", "encoding": "positive", "category": "true"}
    features = {"v": 1, "columns": [{"column": "number", "transform": "scale"}], "label": label}
    return Task(
        name="adult-logistic", metric="accuracy", epsilons=("2",), schema=SCHEMA, public_size=train,
        body={"features": features}, tables=lambda: (table(0, train), table(500, test)),
    )  # fmt: skip


def numbers(of: Rows) -> frozenset[int]:
    """Whose rows these are: the encoder has brought 0 ... 1000 to -1 ... 1."""
    return frozenset(np.rint((of.features[:, 0] + 1) * 500).astype(int).tolist())


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, frozenset[int]]]:
    """What is trained on and looked at, in order."""
    seen: list[tuple[str, frozenset[int]]] = []

    def fit(of: Rows, *_: Any) -> Any:
        seen.append(("fit", numbers(of)))
        return np.zeros((2, 1))

    def look(_: Any, of: Rows) -> float:
        seen.append(("look", numbers(of)))
        return 0.5

    grid = Grid(passes=(1,), batches=(4,), rates=(1, 2), momenta=(0,), clip=1.0, classes=1)
    monkeypatch.setattr(bandmf, "trained", fit)
    monkeypatch.setattr(bandmf, "accuracy", look)
    monkeypatch.setattr(bandmf, "EPSILONS", ("2",))
    monkeypatch.setitem(bandmf.GRIDS, "adult-logistic", grid)
    return seen


def test_the_test_split_is_looked_at_after_the_choice_only(looks: list[tuple[str, frozenset[int]]]) -> None:
    """Settings are tried on five sixths of the training split and judged by the rest; then all of it is trained on."""
    lines = list(bandmf.compared(task_of(120, 30), runs=2))
    assert [line["mechanism"] for line in lines] == ["dp-sgd", "bandmf"]
    train, test = frozenset(range(120)), frozenset(range(500, 530))
    for side, bands in zip(("dp-sgd", "bandmf"), (1, len(BANDS) - 1), strict=True):
        tries = 2 * 2 * bands * bandmf.LOOKS
        choosing, looks[:] = looks[: 2 * tries], looks[2 * tries :]
        final, looks[:] = looks[:4], looks[4:]
        (fitted,) = {of for act, of in choosing if act == "fit"}
        (judged,) = {of for act, of in choosing if act == "look"}
        assert (len(fitted), len(judged)) == (100, 20), side
        assert fitted | judged == train
        assert not fitted & judged
        assert final == [("fit", train), ("look", test)] * 2
    assert not looks


def test_the_committed_lines_are_of_this_script() -> None:
    """Every cell of both sides once, with settings of the grid."""
    cells = [(line["task"], line["epsilon"], line["passes"], line["mechanism"]) for line in LINES]
    expected = [
        (name, epsilon, passes, side)
        for name, grid in GRIDS.items()
        for epsilon, passes in itertools.product(bandmf.EPSILONS, grid.passes)
        for side in ("dp-sgd", "bandmf")
    ]
    assert cells == expected
    for line in LINES:
        grid = GRIDS[line["task"]]
        assert line["delta"] == DELTA
        assert (line["band"] == 1) == (line["mechanism"] == "dp-sgd")
        assert line["band"] in BANDS
        assert line["batch"] in grid.batches
        assert round(line["learning_rate"] / (1 - line["momentum"]), 6) in set(map(float, grid.rates))


def test_the_decision_record_says_what_the_lines_say() -> None:
    """Its table is made of the committed lines, and its counts follow from them."""
    page = (ROOT / "docs" / "adr" / "0014-no-correlated-noise.md").read_text(encoding="utf-8")
    said = re.findall(r"^\| (Adult|MNIST scattering) \| (\d) \| (\d) \| (.*) \| (.*) \| (\d+) \|$", page, re.MULTILINE)

    def shown(line: dict[str, Any]) -> str:
        return f"{100 * line['mean']:.2f} +- {100 * line['sd']:.2f}"

    names = {"adult-logistic": "Adult", "mnist-scattering": "MNIST scattering"}
    pairs = list(zip(LINES[::2], LINES[1::2], strict=True))
    assert said == [
        (names[a["task"]], a["epsilon"], str(a["passes"]), shown(a), shown(b), str(b["band"])) for a, b in pairs
    ]
    gains = [100 * (b["mean"] - a["mean"]) for a, b in pairs]
    assert f"ahead in {sum(g > 0 for g in gains)} of {len(gains)} cells" in page
    assert f"is {sum(gains) / len(gains):+.2f} points" in page
