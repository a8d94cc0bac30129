"""What lies around the models: counts, figures, factors, work and request bodies as channels."""

from __future__ import annotations

import copy
import hashlib
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from kernel.errors import PrivgateError, TooLargeError
from privacy.evaluation.scoring import Wanted, count_rows
from privacy.graph.check import CheckedGraph, check
from privacy.graph.spec import ModelGraph
from privacy.jobs.engines import EngineName
from privacy.jobs.evaluation_measures import default_shares, measures
from privacy.jobs.labels import Target
from privacy.jobs.plan import plan_training
from privacy.jobs.size import row_work, scoring_work
from privacy.jobs.spec import complete_training
from privacy.schema import TableSchema
from privacy.selftest.claims import Claims
from privacy.selftest.witness import Witness
from privacy.training.clipping import MARGIN, ClipRule
from privacy.training.engine import ClippedSum, MicroBatch, written
from privacy.training.plan_runner import run_plan
from privacy.training.rows import Rows
from privacy.training.state import first_state
from privacy.training.units import UnitTable
from privacy.training.vmap_engine import VmapEngine
from tests.support import jobs
from tests.support.api import House, refused
from tests.support.graphs import PICTURES, graph, initial, node, weight
from tests.support.hostile_models import (
    ACCEPTED,
    WAYS,
    WIDE,
    Attack,
    attending,
    chain,
    changed,
    company,
    convolved,
    kinds_of_rows,
    repeating,
    requested,
)

# --- Opacus ----------------------------------------------------------------------------------------------------------

ODD: dict[str, Any] = {
    "linear-on-four-sides": lambda: chain(
        [2, 2, 3, 2], [weight("l.w", 2, 2), weight("l.b", 2)], [node("l", "linear", [], ["l.w", "l.b"])], 24
    ),
    "embedding-of-a-square": lambda: chain([3, 4], [weight("t.w", 5, 2)], [node("t", "embedding", [], ["t.w"])], 24),
    "norm-over-two-sides": lambda: chain(
        [2, 3, 2],
        [weight("n.w", 3, 2), weight("n.b", 3, 2)],
        [node("n", "layer_norm", [], ["n.w", "n.b"], sides=2, eps="0.00001")],
    ),
    "groups-of-a-vector": lambda: chain(
        [12],
        [weight("n.w", 12), weight("n.b", 12)],
        [node("n", "group_norm", [], ["n.w", "n.b"], groups=3, eps="0.00001")],
    ),
    "wide-steps": lambda: chain(
        [4, 9],
        [weight("c.w", 6, 2, 3), weight("c.b", 6)],
        [node("c", "conv1d", [], ["c.w", "c.b"], stride=[2], padding=[3], dilation=[2], groups=2)],
        36,
    ),
    "value-read-twice": lambda: chain(
        [12], [weight("l.w", 12, 12)], [node("l", "linear", [], ["l.w"]), node("m", "multiply", ["l", "l"])]
    ),
}


def one_by_one(attack: Attack) -> Attack:
    """The same model under the engine that forms every row's gradient alone, in float64."""
    return replace(attack, engine=VmapEngine(attack.model, attack.plan.loss))


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("rows", [1, 2])
def test_opacus_gives_the_gradients_of_odd_shapes(name: str, rows: int) -> None:
    """Where a peer's samplers are least used, they agree with one row at a time; a wrong one would bound nothing."""
    peer = requested(ODD[name](), rows, "opacus")
    slow = one_by_one(peer)
    weights = first_state(peer.model.graph).weights
    batch = company(peer, 3, alike=False)
    for attack in (peer, slow):
        attack.engine.set_weights(weights)
    for clip in (1e-3, 1e6):
        found, wanted = (attack.engine.clipped_sum(batch, clip).total for attack in (peer, slow))
        assert np.linalg.norm(found - wanted) <= 1e-9 * min(clip, float(np.linalg.norm(wanted)) or 1.0)


def test_functions_in_a_row_keep_what_the_way_back_needs() -> None:
    """A chain whose functions write over what they read still has the gradients of one row at a time."""
    for pair in (("tanh", "tanh"), ("sigmoid", "tanh"), ("tanh", "sigmoid"), ("gelu", "tanh"), ("relu", "sigmoid")):
        own = [weight("l.w", WIDE, WIDE)]
        nodes = [
            node("l", "linear", ["x"], ["l.w"]),
            *(node(f"f{at}", op, [["l"], ["f0"]][at]) for at, op in enumerate(pair)),
        ]
        made = graph(
            [WIDE], [*own, weight("said.w", 3, WIDE)], [*nodes, node("said", "linear", ["f1"], ["said.w"])], "said"
        )
        ours = requested(made)
        slow = one_by_one(ours)
        assert (ours.engine.name, slow.engine.name) == ("bookkeeping", "vmap")
        weights = first_state(ours.model.graph).weights.astype(np.float32).astype(np.float64)
        batch = company(ours, 3, alike=False)
        for attack in (ours, slow):
            attack.engine.set_weights(weights)
        found, wanted = (attack.engine.clipped_sum(batch, 1e6).total for attack in (ours, slow))
        assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted), pair


@pytest.mark.parametrize("flushed", [True, False])
def test_a_factor_below_every_normal_number_shortens_nothing_wrongly(flushed: bool) -> None:
    """Norms of 10^20 to 10^75: float32 has factors down to 10^-38, and rounds those below by up to one half."""
    linear = [node("a", "linear", ["x"], ["a.w"]), node("said", "linear", ["a"], ["said.w"])]
    made = graph([WIDE], [weight("a.w", 3, WIDE), weight("said.w", 3, 3)], linear, "said")
    attack = requested(made)
    torch.set_flush_denormal(flushed)
    try:
        for power in np.linspace(8, 38, 200):
            weights = np.full(attack.engine.size, 1.0)
            weights[-9:] = [10 ** (power - 19), -(10 ** (power - 19)), 0] * 3
            attack.engine.set_weights(weights.astype(np.float32).astype(np.float64))
            batch = changed(company(attack, 1, alike=False), 0, np.full(WIDE, 10**power), 1.0)
            batch.counts[1:] = False
            assert np.linalg.norm(attack.sum(batch)) <= attack.clip
    finally:
        torch.set_flush_denormal(False)


# --- what is counted and kept ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "engine"), WAYS)
@pytest.mark.parametrize("name", ["convolutions", "conditional-nan", "chaos"])
def test_one_unit_moves_the_count_of_the_adaptive_clip_by_one_half(name: str, rows: int, engine: str) -> None:
    """Whatever its rows are; and sum and count together stay within what the noise multiplier prices."""
    attack = requested(ACCEPTED[name](), rows, engine, "adaptive")
    attack.start()
    rule = ClipRule.of(attack.plan)
    longest = math.hypot(MARGIN, rule.weight / 2)
    assert rule.noise / longest >= float(attack.plan.noise_multiplier.number)
    batch = company(attack, 4, alike=False)
    without = attack.engine.clipped_sum(changed(batch, 2, None), attack.clip)
    for row in kinds_of_rows(attack.model.width, 4):
        with np.errstate(all="ignore"):
            found = attack.engine.clipped_sum(changed(batch, 2, row), attack.clip)
        assert found.within - without.within in (0, 1)
        units = len(batch.counts)
        moved = rule.mark(1.0, units, found.within) - rule.mark(1.0, units - 1, without.within)
        assert abs(moved) == pytest.approx(rule.weight / 2)
        length = float(np.linalg.norm(found.total - without.total)) / attack.clip * MARGIN
        assert math.hypot(length, moved) * float(attack.plan.noise_multiplier.number) <= rule.noise * 1.004


@pytest.mark.parametrize("made", [convolved, attending, repeating], ids=lambda made: str(made.__name__))
def test_an_evaluations_counts_are_sums_over_rows_bit_for_bit(made: Any) -> None:
    """Of several classes and large models: a row counts as it does alone, whoever stands beside it and however many."""
    model = check(ModelGraph.from_json(made()))
    draw = np.random.default_rng(8)
    weights = {each.name: draw.normal(size=each.shape).astype(np.float32) for each in model.graph.weights}
    features = (draw.normal(size=(61, model.width)) * 2).round(1).astype(np.float32)
    features[::7] = [next(kinds_of_rows(model.width, 1)) * 1e30]
    features[3], features[4] = np.nan, np.inf
    targets = draw.integers(0, 3, 61).astype(np.float32)

    shares = default_shares(Target.CLASSES, confusion=True, subgroups=False)
    wanted = Wanted(measures=measures(shares, Target.CLASSES, 3, 50, ()), target=Target.CLASSES)

    def counts(places: Any) -> np.ndarray[Any, Any]:
        alive = np.ones(len(places), np.bool_)
        rows = Rows(features=features[places], targets=targets[places], alive=alive)
        return np.concatenate(count_rows(model, weights, rows, wanted))

    alone = np.array([counts([place]) for place in range(61)])
    assert set(alone.sum(axis=1)) <= {0, 2}
    for places in (range(61), range(17), range(60, -1, -1), [5] * 40, [0, 60]):
        assert (counts(list(places)) == alone[list(places)].sum(axis=0)).all()


class _Bytes:
    """A source whose bytes repeat from one run to the next: only so can two runs be compared bit for bit."""

    def __init__(self) -> None:
        self._asked = 0

    def __call__(self, count: int) -> bytes:
        self._asked += 1
        return hashlib.shake_256(self._asked.to_bytes(8, "big")).digest(count)


class Adds:
    """An engine with a private value: it adds this number everywhere."""

    name = "adds"
    size = 40

    def __init__(self, value: float) -> None:
        self._value = value

    def set_weights(self, flat: Any) -> None:
        """Nothing depends on them."""

    def clipped_sum(self, batch: MicroBatch, clip: float, into: Any = None) -> ClippedSum:
        """The value times the clip."""
        return ClippedSum(total=written(np.full(self.size, self._value * clip), into), within=0)


class Silent:
    """A parent that lets everything run."""

    def may_start(self, _: int) -> bool:
        """Always."""
        return True

    def save(self, _: Any) -> None:
        """Keeps nothing."""


def test_the_figures_of_a_self_test_do_not_depend_on_rows() -> None:
    """The same randomness over other gradients gives the same figures, to the last digit."""
    plan = jobs.plan(recipe={"steps": 12, "expected_batch": 30})
    ones = np.ones((200, 3), np.float32)
    units = UnitTable.of_records(Rows(features=ones, targets=ones[:, 0], alive=ones[:, 0] > 0))
    told = []
    for value in (0.0, 0.9, -1e5, 1e12):
        source = _Bytes()
        witness = Witness(Claims.of(plan), entropy=source)
        cut = requested(ACCEPTED["overflow"]()).performance
        start = first_state(graph_of_size(Adds.size).graph, source)
        run_plan(plan, cut, Adds(value), units, Silent(), start, witness, source)
        told.append(witness.report().to_fields())
    assert all(each == told[0] for each in told)


def graph_of_size(size: int) -> CheckedGraph:
    """One linear layer with so many weights."""
    return check(ModelGraph.from_json(graph([size], [weight("w", 1, size)], [node("s", "linear", ["x"], ["w"])], "s")))


# --- work ------------------------------------------------------------------------------------------------------------


def _windows(groups: int) -> CheckedGraph:
    attributes = {"stride": [1, 1], "padding": [3, 3], "dilation": [1, 1], "groups": groups}
    own = weight("c.w", 4, 4 // groups, 7, 7)
    return check(
        ModelGraph.from_json(chain([4, 16, 16], [own], [node("c", "conv2d", [], ["c.w"], **attributes)], 1024))
    )


def test_work_that_is_not_multiplication_is_counted() -> None:
    """Windows that are unfolded, slow functions, formed gradients: uncounted, a plan runs into the child's clock."""
    for groups in (1, 4):
        model = _windows(groups)
        assert row_work(EngineName.BOOKKEEPING, model) > model.scratch_per_row // 2
        assert row_work(EngineName.VMAP, model) > 3 * model.scratch_per_row
    plain, slow = (
        check(ModelGraph.from_json(chain([512, 2], [], [node("f", op, [])], 1024))) for op in ("tanh", "gelu_exact")
    )
    assert scoring_work(slow) >= scoring_work(plain) + 9 * 1024
    formed = check(
        ModelGraph.from_json(chain([2, 300], [weight("l.w", 300, 300)], [node("l", "linear", [], ["l.w"])], 600))
    )
    assert row_work(EngineName.BOOKKEEPING, formed) > 90_000 // 4


def test_a_slow_model_is_refused_for_many_units() -> None:
    """What would be scored for days is refused with its request, extractors included."""
    schema = TableSchema.from_json(
        {
            "columns": [
                {"name": "x", "kind": "tensor", "low": "-1", "high": "1", "shape": [1000]},
                {"name": "kind", "kind": "categorical", "categories": ["a", "b"]},
            ]
        }
    )
    slow = [node(f"g{at}", "gelu_exact", [f"g{at - 1}" if at else "x"]) for at in range(200)]
    model = graph([1000], [weight("w", 1, 1000)], [*slow, node("s", "linear", ["g199"], ["w"])], "s")
    frozen = copy.deepcopy(model)
    frozen["weights"][0]["init"] = {"rule": "given"}
    extractor = {"kind": "graph", "graph": frozen, "weights": initial({"w": np.ones((1, 1000))})}
    columns = [{"column": "x", "transform": "scale"}]
    label = {"column": "kind", "encoding": "positive", "category": "b"}
    declared = jobs.facts(public_size=500_000)
    bodies: list[dict[str, Any]] = [
        {"model": {"graph": model}, "label": "kind"},
        {"features": {"v": 1, "columns": columns, "label": label, "extractor": extractor}, "label": None},
    ]
    for body in bodies:
        recipe = {"steps": 1, "sampling_rate": "0.00001"}
        wanted = complete_training(jobs.request(recipe=recipe, **body), schema, declared)
        with pytest.raises(TooLargeError):
            plan_training(wanted, schema, declared)


# --- request bodies --------------------------------------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**53, 2**70, 1.5, math.nan, math.inf, "", "x", "said", "1e400", "-0", "NaN", "\0",
    "\ud800", "٣", [], [[]], [None], ["x", "x"], {}, {"rule": "given"}, {"": 1}, [0, 2**62], "AAAA", "=" * 8,
)  # fmt: skip


def _places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a body."""
    if path:
        yield path
    pairs = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in pairs:
        yield from _places(value, (*path, key))


def _mutant(body: Any, draw: random.Random) -> Any:
    made = copy.deepcopy(body)
    for _ in range(draw.randint(1, 2)):
        *before, last = draw.choice(list(_places(made)))
        within = made
        for key in before:
            within = within[key]
        act = draw.randrange(4)
        if act == 0 and isinstance(within, dict):
            del within[last]
        elif act == 1 and isinstance(within, list):
            within.insert(last, copy.deepcopy(within[last]))
        elif act == 2 and isinstance(within, dict):
            within[str(draw.choice(("attributes", "v", "more", "op")))] = draw.choice(STRANGE)
        else:
            within[last] = draw.choice(STRANGE)
    return made


def test_mutants_of_a_request_are_read_or_refused() -> None:
    """Graph, given values, extractor and recipe with wrong kinds, sizes and names: a refusal with a sentence."""
    square = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    given = weight("e.w", 2, 1, 3, 3, rule="given")
    encoder = graph([1, 6, 6], [given], [node("e", "conv2d", ["x"], ["e.w"], **square)], "e")
    own = graph([32], [weight("s.w", 3, 32, rule="given")], [node("s", "linear", ["x"], ["s.w"])], "s")
    body = jobs.request(
        label=None,
        features={
            "v": 1,
            "columns": [{"column": "picture", "transform": "scale"}],
            "label": {"column": "kind", "encoding": "classes"},
            "extractor": {"kind": "graph", "graph": encoder, "weights": initial({"e.w": np.ones((2, 1, 3, 3))})},
        },
        model={"graph": own, "initial": initial({"s.w": np.ones((3, 32))})},
        recipe={"steps": 5, "expected_batch": 64, "clipping": "per-layer", "engine": "auto"},
    )
    scattering = {"kind": "scattering", "image": [8, 8], "scales": 2, "angles": 4, "order": 2, "norm": "none"}
    template = {"template": "cnn", "image": [1, 6, 6], "classes": 3, "activation": "relu"}
    others = [body | {"model": template}, body | {"features": body["features"] | {"extractor": scattering}}]
    declared, draw = jobs.facts(), random.Random(5)
    plan_training(complete_training(body, PICTURES, declared), PICTURES, declared)
    refusals = 0
    for number in range(1200):
        mutant = _mutant((body, *others)[number % 3], draw)
        try:
            plan_training(complete_training(mutant, PICTURES, declared), PICTURES, declared)
        except PrivgateError:
            refusals += 1
    assert refusals > 600


@pytest.mark.parametrize("inside", [b"0,", b"[],", b'{"a":1},', b'"",'], ids=repr)
def test_a_body_of_a_million_small_values_is_refused_before_it_is_read(
    made: House, inside: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By counting bytes: nothing parses what would take seconds. As many bytes in one text are read."""
    trainer, many = made["trainer"], 8 * 2**20 // len(inside) - 200
    headers = {"Authorization": f"Bearer {trainer.token}", "Content-Type": "application/json"}
    before = b'{"spec":{"dataset":"' + made.ids["dataset"].encode() + b'","model":'
    long = before + b'"' + b"A" * (7 * 2**20) + b'"}}'
    refused(made.client.post("/v1/quotes", content=long, headers=headers), 422)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr("kernel.canonical.decode", never)
    content = before + b"[" + inside * many + b"0]}}"
    refused(made.client.post("/v1/quotes", content=content, headers=headers), 413, "too-large")
