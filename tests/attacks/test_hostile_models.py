"""Models that want rows to meet, clocks to tell or norms to lie: refused, or one unit still moves the sum by the clip.

Every model here goes the whole way of a request: graph, plan, the engine that the plan names. What is accepted is
measured: the clipped sum with and without a unit, and with another in its place, beside many and few others, in every
kind of row that a model could be waiting for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError, PrivgateError, TooLargeError
from privacy.graph.check import check
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import ModelGraph
from privacy.jobs.plan import Performance
from privacy.training.engine import Floats, MicroBatch
from privacy.training.slots import placed
from privacy.training.stream import NoiseStream
from tests.support.graphs import graph, node, weight
from tests.support.hostile_models import (
    ACCEPTED,
    WAYS,
    WIDE,
    Graph,
    chain,
    changed,
    company,
    kinds_of_rows,
    requested,
    said,
    worst,
)


@pytest.mark.parametrize("clipping", ["flat", "per-layer"])
@pytest.mark.parametrize(("rows", "engine"), WAYS)
@pytest.mark.parametrize("name", ACCEPTED)
def test_one_unit_moves_the_sum_by_the_clip_at_most(name: str, rows: int, engine: str, clipping: str) -> None:
    """Added or removed: the clip that is priced. Replaced: twice that. Under every engine that takes the model."""
    model = ACCEPTED[name]()
    if engine == "opacus" and not check(ModelGraph.from_json(model)).proven:
        with pytest.raises(InvalidError, match="row by row"):
            requested(model, rows, engine, clipping)
        return
    attack = requested(model, rows, engine, clipping)
    assert attack.engine.name == ("opacus" if engine == "opacus" else "bookkeeping" if attack.model.proven else "vmap")
    added, replaced = worst(attack, 5 + rows)
    assert added <= 1
    assert replaced <= 2


def _one_score(bias: bool, width: int) -> Graph:
    own = [weight("w", 1, width, rule="uniform", bound="100"), weight("b", 1)]
    names = ["w", "b"] if bias else ["w"]
    return graph([width], own[: len(names)], [node("said", "linear", ["x"], names)], "said")


def _long(bias: bool, width: int) -> Graph:
    own = [weight("l.w", 600, width), weight("l.b", 600), weight("w", 1, 600)]
    used = own if bias else [own[0], own[2]]
    names = ["l.w", "l.b"] if bias else ["l.w"]
    nodes = [node("l", "linear", ["x"], names), node("t", "relu", ["l"]), node("said", "linear", ["t"], ["w"])]
    return graph([width], used, nodes, "said")


@pytest.mark.parametrize("made", [_one_score, _long], ids=lambda made: str(made.__name__))
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [1, 40, 700])
def test_the_quick_ways_hold_too(made: Callable[[bool, int], Graph], bias: bool, width: int) -> None:
    """One score, and rows so long that norms are summed in pieces: the same measure, at tiny and huge slopes."""
    attack = requested(made(bias, width), classes="ab", expected_batch=300)
    assert attack.engine.name == "bookkeeping"
    assert attack.performance.units_at_once > 300
    added, replaced = worst(attack, 7)
    assert added <= 1
    assert replaced <= 2


def test_the_measure_would_see_rows_that_meet() -> None:
    """An engine that adds the batch's mean to every row is caught: otherwise the measure would say little."""
    attack = requested(ACCEPTED["mean-over-side-0"]())
    honest = attack.engine.clipped_sum

    def mixed(batch: MicroBatch, clip: float) -> Any:
        with np.errstate(all="ignore"):
            common = np.nan_to_num(batch.features, posinf=1e30, neginf=-1e30).mean(axis=0, keepdims=True)
            features = (batch.features + 10 * common).astype(np.float32)
        return honest(MicroBatch(features=features, targets=batch.targets, counts=batch.counts), clip)

    attack.engine.clipped_sum = mixed  # type: ignore[method-assign]
    assert max(worst(attack, 6)) > 2


@pytest.mark.parametrize("name", ["chaos", "chaos-of-waves", "convolutions", "attention", "cancelling-positions"])
def test_whole_steps_with_random_places_hold_too(name: str) -> None:
    """Everybody else in the same places of several micro-batches, as the coupling of neighbours has it."""
    attack = requested(ACCEPTED[name](), expected_batch=300)
    attack.start()
    cut = Performance(units_at_once=max(1, attack.performance.units_at_once // 3), least_micro_batches=3)
    draw = np.random.default_rng(3)
    people = draw.normal(size=(280, attack.model.width)).astype(np.float32)
    places = placed(np.arange(len(people), dtype=np.int64), cut, NoiseStream())

    def step(rows: np.ndarray[Any, Any], gone: int = -1) -> Floats:
        total = np.zeros(attack.engine.size)
        for members in places:
            here = (members >= 0) & (members != gone)
            batch = MicroBatch(
                features=np.where(here[:, None], rows[members], 0)[:, None].astype(np.float32),
                targets=np.where(here, members % 3, 0)[:, None].astype(np.float32),
                counts=here[:, None],
            )
            total += attack.sum(batch)
        return total

    everybody = step(people)
    assert np.linalg.norm(everybody) > attack.bound / 100
    for unit in (0, 97, 279):
        assert np.linalg.norm(step(people, unit) - everybody) <= attack.bound
        other = people.copy()
        other[unit] = 1e30
        assert np.linalg.norm(step(other) - everybody) <= 2 * attack.bound


@pytest.mark.parametrize("name", ["chaos", "chaos-of-waves"])
def test_what_others_add_under_chaos_is_the_same_bit_for_bit(name: str) -> None:
    """Alone with nobody, with an honest unit, with a hostile one: a unit in its place adds the same numbers.

    Its sum with dead company is compared while the company changes in all that does not count.
    """
    attack = requested(ACCEPTED[name]())
    attack.start()
    batch = company(attack, 9, alike=False)
    batch.counts[:] = False
    batch.counts[4] = True
    alone = attack.sum(batch)
    assert alone.any()
    for row in kinds_of_rows(attack.model.width, 9):
        others = batch.features.copy()
        with np.errstate(all="ignore"):
            others[np.arange(len(others)) != 4] = row.astype(np.float32)
        assert (attack.sum(MicroBatch(features=others, targets=batch.targets, counts=batch.counts)) == alone).all()


@pytest.mark.parametrize("clipping", ["flat", "per-layer", "adaptive"])
@pytest.mark.parametrize(("rows", "engine"), WAYS)
def test_nobody_dead_rows_and_broken_rows_add_nothing(rows: int, engine: str, clipping: str) -> None:
    """An empty micro-batch, one of dead rows and one of rows that are not numbers: all zero, and nobody counts."""
    attack = requested(ACCEPTED["convolutions"](), rows, engine, clipping)
    attack.start()
    batch = company(attack, 2, alike=False)
    dead = MicroBatch(features=batch.features, targets=batch.targets, counts=np.zeros_like(batch.counts))
    for value, some in ((0.0, dead), (1.0, dead), (np.nan, batch), (np.inf, batch)):
        features = np.full_like(batch.features, value) if value else np.zeros_like(batch.features)
        made = MicroBatch(features=features, targets=some.targets, counts=some.counts)
        found = attack.engine.clipped_sum(made, attack.clip)
        assert not found.total.any()
        assert found.within == 0


@pytest.mark.parametrize("engine", ["auto", "opacus"])
def test_rows_of_a_unit_that_cancel_are_one_short_gradient(engine: str) -> None:
    """Huge gradients of opposite signs: what is clipped is their sum, and it stays within the clip."""
    attack = requested(chain([WIDE], [], [node("up", "scale", [], factor="1000000")], rule="zeros"), 3, engine)
    attack.start()
    draw = np.random.default_rng(4)
    for share in (1.0, 1 + 1e-6, 0.5):
        batch = changed(company(attack, 4, alike=False), 0, None)
        batch.counts[:] = False
        row = draw.normal(size=WIDE).astype(np.float32)
        batch.features[0, 0], batch.features[0, 1] = row, -row * np.float32(share)
        batch.counts[0, :2] = True
        found = attack.engine.clipped_sum(batch, attack.clip)
        assert np.linalg.norm(found.total) <= attack.clip * (1 + 2.0**-14)
        assert found.within == int(share == 1.0)


# --- refused ---------------------------------------------------------------------------------------------------------


def _one_layer(**changes: Any) -> Graph:
    last_weight, last = said("x")
    return graph([WIDE], [last_weight], [last], "said") | changes


def _tied() -> Graph:
    made = chain([WIDE], [weight("l.w", WIDE, WIDE)], [node("l", "linear", [], ["l.w"])])
    made["nodes"].insert(1, node("again", "linear", ["l"], ["l.w"]))
    made["nodes"][2]["inputs"] = ["again"]
    return made


def _with(op: str, inputs: int = 1, **attributes: Any) -> Graph:
    return chain([4, 3], [], [node("it", op, ["x"] * inputs, **attributes)])


def _side(value: Any) -> Graph:
    made = _one_layer()
    made["inputs"][0]["shape"] = [value]
    return made


REFUSED: dict[str, tuple[Callable[[], Graph], str]] = {
    "tied": (_tied, "again"),
    "used-twice-by-one-node": (
        lambda: _one_layer(nodes=[node("said", "linear", ["x"], ["said.w", "said.w"])]),
        "said",
    ),
    "mean-over-the-batch": (lambda: _with("mean", axes=[-1]), "it"),
    "sum-over-more-sides-than-a-row-has": (lambda: _with("sum", axes=[0, 1, 2]), "it"),
    "roll-over-the-batch": (lambda: _with("roll", axis=-1, shift=1), "it"),
    "flip-over-the-batch": (lambda: _with("flip", axis=2), "it"),
    "permute-the-batch": (lambda: _with("permute", order=[2, 0, 1]), "it"),
    "slice-the-batch": (lambda: _with("slice", axis=-2, start=0, stop=1), "it"),
    "reshape-with-the-rest": (lambda: _with("reshape", shape=[-1, 12]), "it"),
    "reshape-into-more-rows": (lambda: _with("reshape", shape=[6]), "it"),
    "concat-the-batch": (lambda: _with("concat", 2, axis=2), "it"),
    "batch-norm": (lambda: _with("batch_norm", eps="0.00001"), "it"),
    "instance-norm": (lambda: _with("instance_norm"), "it"),
    "dropout": (lambda: _with("dropout", p="0.5"), "it"),
    "code": (lambda: _with("lambda"), "it"),
    "loop": (lambda: _one_layer(nodes=[node("said", "linear", ["said"], ["said.w"])]), "said"),
    "more-attributes": (lambda: _with("tanh", running_mean=1), "it"),
    "norm-over-the-batch": (lambda: _with("layer_norm", sides=3, eps="0.00001"), "it"),
    "norm-of-one-number": (
        lambda: chain([1], [], [node("it", "layer_norm", [], sides=1, eps="0.00001")], 1),
        "it",
    ),
    "division-by-nothing": (lambda: _with("layer_norm", sides=1, eps="0"), "it"),
    "endless-factor": (lambda: _with("scale", factor="1000001"), "it"),
    "pool-of-padding": (
        lambda: chain([1, 4, 3], [], [node("it", "max_pool2d", [], kernel=[1, 1], stride=[1, 1], padding=[1, 1])]),
        "it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_make_rows_meet_is_refused_by_its_name(name: str) -> None:
    """Before a plan exists, with the node that is wrong."""
    made, node_name = REFUSED[name]
    with pytest.raises(InvalidError) as refusal:
        requested(made())
    assert f"`{node_name}`" in refusal.value.message


HUGE: dict[str, Callable[[], Graph]] = {
    "side": lambda: _side(2**20),
    "beyond-any-side": lambda: _side(2**62),
    "weights": lambda: _one_layer(
        weights=[weight("said.w", 2**20, 2**20)], nodes=[node("said", "linear", ["x"], ["said.w"])]
    ),
    "six-sides": lambda: chain([2**20] * 6, [], [node("t", "tanh", [])]),
    "activations": lambda: chain(
        [4000], [], [node(f"t{at}", "tanh", []) for at in range(250)], 4000, rule="uniform", bound="1"
    ),
    "windows": lambda: chain(
        [1, 700, 700],
        [],
        [node("p", "avg_pool2d", [], kernel=[300, 300], stride=[1, 1], padding=[0, 0])],
        160_801,
    ),
    "scores": lambda: chain([2000, 1], [], [node("a", "attention", ["x"] * 3, heads=1, causal=False)], 2000),
    "products": lambda: chain([900, 900], [], [node("m", "matmul", ["x", "x"])], 810_000),
    "padding": lambda: chain(
        [1, 4, 3],
        [weight("c.w", 1, 1, 1, 1)],
        [node("c", "conv2d", [], ["c.w"], stride=[1, 1], padding=[2**20] * 2, dilation=[1, 1], groups=1)],
    ),
    "dilation": lambda: chain(
        [1, 4, 3],
        [weight("c.w", 1, 1, 2, 2)],
        [node("c", "conv2d", [], ["c.w"], stride=[1, 1], padding=[2**19] * 2, dilation=[2**19] * 2, groups=1)],
    ),
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_shapes_are_refused_before_memory_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By arithmetic on whole numbers: nobody asks numpy or torch for anything."""

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was made")

    made = HUGE[name]()
    for maker in ("zeros", "empty", "full", "ones", "array"):
        monkeypatch.setattr(f"numpy.{maker}", never)
        if maker != "array":
            monkeypatch.setattr(f"torch.{maker}", never)
    with pytest.raises(PrivgateError) as refusal:
        requested(made)
    assert isinstance(refusal.value, InvalidError | TooLargeError)


def test_every_operation_of_the_table_is_attacked_or_refused_above() -> None:
    """A new operation belongs into these models too, or into the list of what needs none."""
    plain = {"relu", "sigmoid", "gelu", "gelu_exact", "silu", "elu", "leaky_relu", "cosine", "softmax", "reshape"}
    plain |= {"clamp", "permute", "concat", "conv1d", "avg_pool2d", "sum"}
    used = {each["op"] for made in ACCEPTED.values() for each in made()["nodes"]}
    assert set(OPERATIONS) == used | plain
