"""Models of trainers who mean harm, the way of their request, and the measure of what one unit can move."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.graph.check import CheckedGraph
from privacy.jobs.plan import Performance, TrainingPlan, performance_of, plan_training
from privacy.jobs.spec import complete_training
from privacy.schema import TableSchema
from privacy.training.choosing import choose_engine
from privacy.training.engine import Engine, Floats, MicroBatch
from privacy.training.state import first_state
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
