"""Models that want rows to meet, clocks to tell or norms to lie: refused, or one unit still moves the sum by the clip.

Every model here goes the whole way of a request: graph, plan, the engine that the plan names. What is accepted is
measured: the clipped sum with and without a unit, and with another in its place, beside many and few others, in every
kind of row that a model could be waiting for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from kernel.errors import InvalidError, PrivgateError, TooLargeError
from privacy.graph.check import CheckedGraph, check
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import ModelGraph
from privacy.jobs.plan import Performance, TrainingPlan, performance_of, plan_training
from privacy.jobs.spec import complete_training
from privacy.schema import TableSchema
from privacy.training.choosing import choose_engine
from privacy.training.engine import Engine, Floats, MicroBatch
from privacy.training.slots import placed
from privacy.training.state import first_state
from privacy.training.stream import NoiseStream
from tests.support import jobs
from tests.support.graphs import graph, node, weight

Graph = dict[str, Any]
WIDE = 12
"""Numbers of a row in most models below."""


# --- models ----------------------------------------------------------------------------------------------------------


def said(value: str, width: int = WIDE, **init: str) -> tuple[Any, Any]:
    """The last layer, on a flat value: its weight and its node."""
    return weight("said.w", 3, width, **(init or {"rule": "uniform", "bound": "1"})), node(
        "said", "linear", [value], ["said.w"]
    )


def chain(shape: list[int], weights: list[Any], nodes: list[Any], width: int = WIDE, **init: str) -> Graph:
    """Nodes that each read the one before, then `flatten` and the last layer."""
    last_weight, last = said("flat", width, **init)
    before = "x"
    for each in nodes:
        each["inputs"] = each["inputs"] or [before]
        before = each["name"]
    return graph(shape, [*weights, last_weight], [*nodes, node("flat", "flatten", [before]), last], "said")


def scales(count: int, factor: str = "1000000", first: str = "") -> list[Any]:
    """One `scale` after the other, from a named value on or within a chain."""
    before = [[first]] + [[f"scale{at}"] for at in range(count - 1)] if first else [[] for _ in range(count)]
    return [node(f"scale{at}", "scale", before[at], factor=factor) for at in range(count)]


def mean_of_all() -> Graph:
    """The mean over the first side there is: the row's own, since the batch has no name."""
    return chain([4, 3], [weight("l.w", 3, 3)], [node("l", "linear", [], ["l.w"]), node("m", "mean", [], axes=[0])], 3)


def first_of_all() -> Graph:
    """X + 10 x[0:1] where x[0:1] is large: of a batch that would be row 0, of a row it is its own first part."""
    return graph(
        [4, 3],
        [weight("l.w", 3, 3), said("flat", 3)[0]],
        [
            node("all", "linear", ["x"], ["l.w"]),
            node("first", "slice", ["all"], axis=0, start=0, stop=1),
            node("more", "scale", ["first"], factor="10"),
            node("second", "slice", ["all"], axis=0, start=1, stop=2),
            node("met", "add", ["more", "second"]),
            node("flat", "flatten", ["met"]),
            said("flat", 3)[1],
        ],
        "said",
    )


def turned(op: str, **attributes: Any) -> Graph:
    """A roll or flip over side 0."""
    return chain([4, 3], [weight("l.w", 3, 3)], [node("l", "linear", [], ["l.w"]), node("t", op, [], **attributes)])


def normed(op: str, eps: str, **attributes: Any) -> Graph:
    """A norm, under which rows of equal numbers divide by nearly nothing."""
    own = [weight("n.w", WIDE, rule="constant", value="1"), weight("n.b", WIDE)]
    first = weight("l.w", WIDE, WIDE)
    nodes = [node("l", "linear", [], ["l.w"]), node("n", op, [], ["n.w", "n.b"], eps=eps, **attributes)]
    return chain([WIDE], [first, *own], nodes)


def sometimes_nothing() -> Graph:
    """Inf - inf where a chosen feature is positive, 0 elsewhere, added to an honest model."""
    return graph(
        [WIDE],
        [weight("l.w", WIDE, WIDE), said("end")[0]],
        [
            node("honest", "linear", ["x"], ["l.w"]),
            node("chosen", "relu", ["x"]),
            *scales(60, first="chosen"),
            node("nothing", "subtract", ["scale59", "scale59"]),
            node("end", "add", ["honest", "nothing"]),
            said("end")[1],
        ],
        "said",
    )


def overflowing() -> Graph:
    """Scores beyond every float where a feature says so, and gradients that overflow only when squared."""
    return chain([WIDE], [weight("l.w", WIDE, WIDE)], [node("l", "linear", [], ["l.w"]), *scales(4)])


def softly() -> Graph:
    """Softplus of huge numbers, and the tiny ones of its other side."""
    nodes = [node("l", "linear", [], ["l.w"]), *scales(3), node("s", "softplus", []), *scales(3, "0.000001")]
    for at, each in enumerate(nodes[5:]):
        each["name"] = f"back{at}"
    return chain([WIDE], [weight("l.w", WIDE, WIDE)], nodes)


def denormal() -> Graph:
    """Numbers below what float32 holds without slowing down."""
    nodes = [node("l", "linear", [], ["l.w"]), *scales(6, "0.000001"), node("t", "tanh", [])]
    nodes += [node(f"up{at}", "scale", [], factor="1000000") for at in range(6)]
    return chain([WIDE], [weight("l.w", WIDE, WIDE)], nodes)


def cancelling() -> Graph:
    """Positions whose gradients are huge and cancel: the second is read with the opposite sign of the first."""
    return graph(
        [2, WIDE],
        [weight("l.w", WIDE, WIDE, rule="constant", value="1000"), said("flat")[0]],
        [
            node("l", "linear", ["x"], ["l.w"]),
            *scales(2, first="l"),
            node("a", "slice", ["scale1"], axis=0, start=0, stop=1),
            node("b", "slice", ["scale1"], axis=0, start=1, stop=2),
            node("both", "subtract", ["a", "b"]),
            node("flat", "flatten", ["both"]),
            said("flat")[1],
        ],
        "said",
    )


def repeating() -> Graph:
    """A table read many times at one entry, whose gradients cancel in pairs."""
    return graph(
        [WIDE],
        [weight("t.w", 5, 6), said("flat", 36)[0]],
        [
            node("t", "embedding", ["x"], ["t.w"]),
            *scales(2, first="t"),
            node("a", "slice", ["scale1"], axis=0, start=0, stop=6),
            node("b", "slice", ["scale1"], axis=0, start=6, stop=12),
            node("both", "subtract", ["a", "b"]),
            node("flat", "flatten", ["both"]),
            said("flat", 36)[1],
        ],
        "said",
    )


def chaotic(rounds: int = 45) -> Graph:
    """The logistic map, whose every step doubles the rounding of its input: after 45, nothing else is left."""
    nodes = [node("l", "linear", ["x"], ["l.w", "l.b"]), node("v0", "sigmoid", ["l"])]
    for at in range(rounds):
        nodes += [
            node(f"minus{at}", "scale", [f"v{at}"], factor="-1"),
            node(f"one{at}", "offset", [f"minus{at}"], value="1"),
            node(f"half{at}", "multiply", [f"v{at}", f"one{at}"]),
            node(f"v{at + 1}", "scale", [f"half{at}"], factor="3.999"),
        ]
    last = said(f"v{rounds}")
    own = [weight("l.w", WIDE, WIDE), weight("l.b", WIDE)]
    return graph([WIDE], [*own, last[0]], [*nodes, last[1]], "said")


def chaotic_waves() -> Graph:
    """Sine of a million times sine: an operation that runs one row at a time, and amplifies what float64 rounds."""
    nodes = [node("l", "linear", [], ["l.w"])]
    for at in range(6):
        nodes += [node(f"up{at}", "scale", [], factor="1000000"), node(f"w{at}", "sine", [])]
    return chain([WIDE], [weight("l.w", WIDE, WIDE)], nodes)


def convolved() -> Graph:
    """Strides, groups, dilation and windows that overlap, then pools."""
    square = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 2}
    return graph(
        [2, 6, 6],
        [weight("c.w", 4, 1, 3, 3, rule="uniform", bound="1000"), weight("c.b", 4), said("flat", 36)[0]],
        [
            node("c", "conv2d", ["x"], ["c.w", "c.b"], **square),
            *scales(2, first="c"),
            node("g", "group_norm", ["scale1"], groups=4, eps="0.000000000001"),
            node("p", "max_pool2d", ["g"], kernel=[2, 2], stride=[2, 2], padding=[0, 0]),
            node("flat", "flatten", ["p"]),
            said("flat", 36)[1],
        ],
        "said",
    )


def attending() -> Graph:
    """Attention whose scores are so large that it jumps from one position to another."""
    square = [weight(f"{name}.w", 4, 4, rule="uniform", bound="1000") for name in "qkv"]
    return graph(
        [3, 4],
        [weight("p.w", 3, 4), *square, said("flat")[0]],
        [
            node("p", "shift", ["x"], ["p.w"]),
            *(node(name, "linear", ["p"], [f"{name}.w"]) for name in "qkv"),
            node("met", "attention", ["q", "k", "v"], heads=2, causal=True),
            node("flat", "flatten", ["met"]),
            said("flat")[1],
        ],
        "said",
    )


def products() -> Graph:
    """A row times itself, again and again: grows like a tower."""
    nodes = [node("l", "linear", ["x"], ["l.w"]), node("m0", "matmul", ["l", "l"])]
    nodes += [node(f"m{at}", "matmul", [f"m{at - 1}", f"m{at - 1}"]) for at in range(1, 6)]
    last = said("flat", 9)
    return graph([3, 3], [weight("l.w", 3, 3), last[0]], [*nodes, node("flat", "flatten", ["m5"]), last[1]], "said")


def largest() -> Graph:
    """Running sums and the largest of them: ties, and gradients that gather at one place."""
    nodes = [node("l", "linear", [], ["l.w"]), node("c", "cumsum", [], axis=0), node("m", "maximum", [], axes=[0])]
    return chain([4, 3], [weight("l.w", 3, 3)], nodes, 3)


ACCEPTED: dict[str, Callable[[], Graph]] = {
    "mean-over-side-0": mean_of_all,
    "first-of-side-0": first_of_all,
    "roll-over-side-0": lambda: turned("roll", axis=0, shift=1),
    "flip-over-side-0": lambda: turned("flip", axis=0),
    "layer-norm": lambda: normed("layer_norm", "0.000000000001", sides=1),
    "group-norm": lambda: normed("group_norm", "0.000000000001", groups=6),
    "conditional-nan": sometimes_nothing,
    "overflow": overflowing,
    "softplus": softly,
    "denormals": denormal,
    "cancelling-positions": cancelling,
    "repeated-tokens": repeating,
    "chaos": chaotic,
    "chaos-of-waves": chaotic_waves,
    "convolutions": convolved,
    "attention": attending,
    "products": products,
    "largest": largest,
}


# --- the way of a request --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A hostile model with the engine that its plan names."""

    model: CheckedGraph
    plan: TrainingPlan
    performance: Performance
    engine: Engine

    @property
    def clip(self) -> float:
        """What the engine clips to."""
        return float(self.plan.engine_clip)

    @property
    def bound(self) -> float:
        """What is priced."""
        return float(self.plan.recipe.clip.number)

    @property
    def rows(self) -> int:
        """Rows of a unit."""
        return self.plan.rows_per_unit

    def start(self) -> None:
        """Weights as the graph says, from the production's own source."""
        self.engine.set_weights(first_state(self.model.graph).weights)

    def sum(self, batch: MicroBatch) -> Floats:
        """The clipped sum of a micro-batch."""
        with np.errstate(all="ignore"):
            return self.engine.clipped_sum(batch, self.clip).total


def requested(
    model: Graph,
    rows_per_unit: int = 1,
    engine: str = "auto",
    clipping: str = "flat",
    classes: str = "abc",
    **recipe: Any,
) -> Attack:
    """Request a model as a trainer does, to tell so many classes apart: of two, the label needs one score."""
    declared = jobs.facts(rows_per_unit=rows_per_unit)
    width = int(np.prod(model["inputs"][0]["shape"]))
    columns = [
        {"name": "x", "kind": "tensor", "low": "-100", "high": "100", "shape": [width]},
        {"name": "kind", "kind": "categorical", "categories": list(classes)},
    ]
    schema = TableSchema.from_json({"columns": columns})
    chosen = {"steps": 5, "expected_batch": 40, "engine": engine, "clipping": clipping, **recipe}
    request = jobs.request(label="kind", model={"graph": model}, recipe=chosen)
    spec = complete_training(request, schema, declared)
    plan, checked = plan_training(spec, schema, declared), spec.model_graph(schema)
    return Attack(
        model=checked,
        plan=plan,
        performance=performance_of(plan, checked),
        engine=choose_engine(checked, plan.loss, plan),
    )


def kinds_of_rows(width: int, seed: int) -> Iterator[np.ndarray[Any, Any]]:
    """Rows that a model could be waiting for."""
    draw = np.random.default_rng(seed)
    yield draw.normal(size=width)
    yield draw.normal(size=width) * 1e4
    yield draw.choice([-1.0, 1.0], width) * 10.0 ** draw.uniform(-38, 38, width)
    for value in (0.0, -0.0, 1.0, -7.0, 3.0, 1e30, -3.4e38, 1e-40, np.inf, -np.inf, np.nan):
        yield np.full(width, value)
    yield np.where(draw.random(width) < 0.1, np.nan, draw.normal(size=width))
    yield np.concatenate([np.full(width // 2, 5e3), np.full(width - width // 2, -5e3)])


def company(attack: Attack, seed: int, alike: bool) -> MicroBatch:
    """A full micro-batch of others: all different, or all alike, which is the worst for a sum's rounding."""
    units, rows, width = attack.performance.units_at_once, attack.rows, attack.model.width
    draw = np.random.default_rng(seed)
    features = draw.normal(size=(units, rows, width)).astype(np.float32) * 3
    targets = draw.integers(0, 3, (units, rows)).astype(np.float32)
    if alike:
        features[:], targets[:] = features[:1], targets[:1]
    return MicroBatch(features=features, targets=targets, counts=np.ones((units, rows), np.bool_))


def changed(batch: MicroBatch, unit: int, row: np.ndarray[Any, Any] | None, target: float = 0.0) -> MicroBatch:
    """The same micro-batch with nobody, or a unit of such rows, at one place."""
    features, targets, counts = batch.features.copy(), batch.targets.copy(), batch.counts.copy()
    features[unit], targets[unit], counts[unit] = 0, 0, False
    if row is not None:
        with np.errstate(all="ignore"):
            features[unit] = row.astype(np.float32)
        targets[unit], counts[unit] = target, True
    return MicroBatch(features=features, targets=targets, counts=counts)


def worst(attack: Attack, seed: int) -> tuple[float, float]:
    """The largest change by a unit that is added, and by one that is replaced, over the clip that is priced."""
    attack.start()
    added = replaced = 0.0
    units = attack.performance.units_at_once
    for alike, place in ((True, units - 1), (False, seed % units)):
        batch = company(attack, seed, alike)
        without = attack.sum(changed(batch, place, None))
        assert np.isfinite(without).all()
        seen = [without]
        for row in kinds_of_rows(attack.model.width, seed):
            found = attack.sum(changed(batch, place, row, float(seed % 3)))
            assert np.isfinite(found).all()
            added = max(added, float(np.linalg.norm(found - without)))
            replaced = max(replaced, *(float(np.linalg.norm(found - other)) for other in seen[-3:]))
            seen.append(found)
    return added / attack.bound, replaced / attack.bound


WAYS = [(rows, engine) for rows in (1, 3) for engine in ("auto", "opacus")]


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
    wanted = {("auto", 1): "bookkeeping" if attack.model.proven else "vmap", ("auto", 3): "vmap"}
    assert attack.engine.name == wanted.get((engine, rows), "opacus")
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
        assert np.linalg.norm(found.total) <= attack.clip * (1 + 1e-12)
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
    plain |= {"permute", "concat", "conv1d", "avg_pool2d", "sum"}
    used = {each["op"] for made in ACCEPTED.values() for each in made()["nodes"]}
    assert set(OPERATIONS) == used | plain
