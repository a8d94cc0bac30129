"""Clocks and lanes: what a kernel could let one row do to others, or to the time that they take."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from kernel.events import Parameter
from privacy.graph.numpy_ops import FUNCTIONS
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import Node
from privacy.graph.torch_ops import bind, bind_row

# --- denormals as a clock --------------------------------------------------------------------------------------------

CLOCK = """
import numpy, torch
from privacy.jobs.plan import Performance
from privacy.training import runner, state, stream
from privacy.training.plan_runner import run_plan
from privacy.training.units import UnitTable
from privacy.training.rows import Rows
from tests.attacks.test_engine_attacks import Adds, Silent, graph_of_size
from tests.support import jobs
from tests.support.witnesses import Onlooker

def denormals():
    small, powers = numpy.full(64, 1e-200), torch.full((64,), 1e-30)
    taught = powers.clone().requires_grad_()
    (taught * 1e-20 * 1e-20).sum().backward()
    return bool((small * 1e-115).any()) or bool((powers * 1e-12).any()) or bool(taught.grad.any())

class Watched(Adds):
    size = 50_000

    def clipped_sum(self, batch, clip, into=None):
        seen.append(denormals())
        return super().clipped_sum(batch, clip, into)

def watched(self, *given):
    drawn.append(denormals())
    return fill(self, *given)

seen, drawn, fill = [], [], stream.NoiseStream.fill
assert denormals()
stream.NoiseStream.fill = watched
runner.quiet_arithmetic()
ones = numpy.ones((50, 3), numpy.float32)
units = UnitTable.of_records(Rows(features=ones, targets=ones[:, 0], alive=ones[:, 0] > 0))
plan = jobs.plan(recipe={"steps": 3, "expected_batch": 30})
cut = Performance(units_at_once=64, least_micro_batches=1)
run_plan(plan, cut, Watched(0.5), units, Silent(), state.first_state(graph_of_size(50_000).graph), Onlooker())
print([len(seen) >= 3, len(drawn) >= 3, not any(seen), not any(drawn)])
"""


def test_denormals_are_zero_in_every_thread_that_computes() -> None:
    """In the thread of the run, numpy and autograd included, and wherever a run draws the noise of a large model."""
    told = subprocess.run([sys.executable, "-c", CLOCK], capture_output=True, text=True, check=True, timeout=120)
    assert told.stdout.split("\n")[-2] == str([True] * 4)


# --- lanes of a kernel -----------------------------------------------------------------------------------------------


def _node(op: str, inputs: int = 1, **attributes: Any) -> Node:
    written = tuple((name, attributes[name]) for name in sorted(attributes))
    return Node(name="n", op=op, inputs=tuple(f"x{at}" for at in range(inputs)), attributes=written)


Shapes = list[tuple[int, ...]]
EPS = Parameter("0.000000000001")
SQUARE = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
_PLAIN = ("relu", "tanh", "sigmoid", "gelu", "gelu_exact", "silu", "elu", "softplus", "softmax", "sine", "cosine")
KERNELS: list[tuple[Node, Shapes, Shapes]] = [
    *((_node(op), [sides], []) for op in (*_PLAIN, "flatten") for sides in ((1,), (3,), (2, 5))),
    *((_node(op, 2), [(3,), (3,)], []) for op in ("add", "subtract", "multiply")),
    (_node("leaky_relu", slope=Parameter("0.1")), [(3,)], []),
    (_node("clamp", low=Parameter("-1"), high=Parameter("2")), [(3,)], []),
    (_node("clamp", low=Parameter("0"), high=Parameter("6")), [(5,)], []),
    (_node("scale", factor=Parameter("1000000")), [(3,)], []),
    (_node("offset", value=Parameter("3")), [(3,)], []),
    (_node("shift"), [(4,)], [(4,)]),
    (_node("matmul", 2), [(2, 9), (9, 5)], []),
    (_node("maximum", axes=(0,)), [(3, 2)], []),
    (_node("cumsum", axis=0), [(5, 2)], []),
    (_node("roll", axis=0, shift=1), [(5, 2)], []),
    (_node("flip", axis=1), [(5, 2)], []),
    (_node("mean", axes=(0,)), [(7, 3)], []),
    (_node("sum", axes=(1,)), [(3, 9)], []),
    (_node("slice", axis=0, start=1, stop=2), [(3,)], []),
    (_node("concat", 2, axis=0), [(3,), (2,)], []),
    (_node("permute", order=(1, 0)), [(3, 2)], []),
    (_node("reshape", shape=(2, 3)), [(6,)], []),
    (_node("layer_norm", sides=1, eps=EPS), [(3, 5)], []),
    (_node("layer_norm", sides=1, eps=EPS), [(3,)], [(3,), (3,)]),
    (_node("group_norm", groups=2, eps=EPS), [(4, 3)], [(4,), (4,)]),
    (_node("linear"), [(1,)], [(1, 1), (1,)]),
    (_node("linear"), [(100,)], [(1, 100), (1,)]),
    (_node("linear"), [(3, 7)], [(5, 7)]),
    (_node("linear"), [(300,)], [(70, 300)]),
    (_node("attention", 3, heads=2, causal=False), [(3, 4)] * 3, []),
    (_node("attention", 3, heads=1, causal=True), [(5, 4)] * 3, []),
    (_node("conv2d", **SQUARE), [(2, 5, 5)], [(3, 2, 3, 3), (3,)]),
    (_node("conv2d", **(SQUARE | {"groups": 2, "stride": (2, 2)})), [(2, 7, 7)], [(2, 1, 3, 3)]),
    (_node("conv2d", **SQUARE), [(16, 6, 6)], [(16, 16, 3, 3), (16,)]),
    (_node("conv1d", stride=(1,), padding=(1,), dilation=(1,), groups=1), [(2, 9)], [(3, 2, 3), (3,)]),
    (_node("max_pool2d", kernel=(2, 2), stride=(1, 1), padding=(1, 1)), [(2, 5, 5)], []),
    (_node("avg_pool2d", kernel=(2, 2), stride=(1, 1), padding=(0, 0)), [(2, 5, 5)], []),
    (_node("embedding"), [(4,)], [(5, 3)]),
]
HOSTILE = (1e30, -3e38, math.inf, -math.inf, math.nan, 1e-40, 0.0, 1e5, -700.0)


def _numbers(made: Node, inputs: list[Any], weights: list[Any], way: str) -> list[Any]:
    """Value and gradients of a node on a batch: what later numbers of a row are made from."""
    if way == "numpy":
        with np.errstate(all="ignore"):
            return [FUNCTIONS[made.op](made, inputs, weights)]
    kind = torch.float32 if way == "batch" else torch.float64
    values = [torch.tensor(value, dtype=kind, requires_grad=way == "batch") for value in inputs]
    fixed = [torch.tensor(value, dtype=kind) for value in weights]
    if way == "batch":
        result = bind(made)(values, fixed)
        total = (result * torch.linspace(0.3, 1.7, result[0].numel()).view(result.shape[1:])).sum()
        slopes = (
            torch.autograd.grad(total, values, allow_unused=True, materialize_grads=True)
            if result.requires_grad
            else ()
        )
        return [each.detach().numpy() for each in (result, *slopes)]
    function = bind_row(made)

    def loss(*row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        one = function(row, fixed)
        return (one * torch.linspace(0.3, 1.7, one.numel(), dtype=kind).view(one.shape)).sum(), one

    slopes, result = torch.func.vmap(torch.func.grad(loss, tuple(range(len(values))), has_aux=True))(*values)
    return [each.detach().numpy() for each in (result, *slopes)]


@pytest.mark.parametrize(
    ("way", "count"),
    [
        *((way, 19) for way in ("batch", "row", "numpy")),
        *(pytest.param("batch", count, marks=pytest.mark.slow) for count in (128, 1024, 4096)),
    ],
)
def test_no_kernel_lets_a_neighbour_change_a_bit(way: str, count: int) -> None:
    """Vector instructions compute several rows at once, and may take another path for all of them if one is extreme.

    Values and gradients of the others stay bit for bit, for every operation, whatever one row holds: on a few rows, on
    a block of full size and beyond, where kernels cut their work in another way.
    """
    draw = np.random.default_rng(0)
    for made, shapes, sizes in KERNELS:
        if way == "batch" and OPERATIONS[made.op].batch is None:
            continue
        weights = [draw.normal(size=size) for size in sizes]
        for scale in (1, 1e4):
            inputs = [draw.normal(size=(count, *sides)) * scale for sides in shapes]
            before = _numbers(made, inputs, weights, way)
            for value, place in zip(HOSTILE, (0, 5, count - 1) * 3, strict=True):
                others = np.arange(count) != place
                hostile = [each.copy() for each in inputs]
                for each in hostile:
                    each[place] = value
                for old, new in zip(before, _numbers(made, hostile, weights, way), strict=True):
                    assert np.array_equal(old[others], new[others], equal_nan=True), (made.op, value)


def test_every_operation_is_among_the_kernels() -> None:
    """A new one must be added above."""
    assert {made.op for made, _, _ in KERNELS} == set(OPERATIONS)
