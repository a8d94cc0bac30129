"""Each operation: the same numbers in torch and numpy, on a batch and row by row, and no row sees another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kernel.errors import InvalidError, PrivgateError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.numpy_ops import FUNCTIONS
from privacy.graph.ops import OPERATIONS
from privacy.graph.spec import ModelGraph, Node, Shape
from privacy.graph.torch_module import GraphModule
from privacy.graph.torch_ops import apply, apply_row
from tests.support.drawn_graphs import graphs, nodes, values

NAMES = sorted(OPERATIONS)
PROVEN = [name for name in NAMES if OPERATIONS[name].batch is not None]
UNPROVEN = [name for name in NAMES if OPERATIONS[name].batch is None]
ROWS = 5
HOSTILE = [np.nan, np.inf, -np.inf, 3e38, 1e-42, 0.0]


def _case(data: st.DataObject, name: str) -> tuple[Node, Shape, list[Any], list[Any]]:
    """A node that fits, its result's shape, inputs of five rows and weights."""
    node, inputs, weights = data.draw(nodes(name))
    try:
        result = OPERATIONS[name].result(node, inputs, weights)
    except InvalidError:
        assume(False)
        raise
    seed, scale = data.draw(st.integers(0, 2**32)), data.draw(st.sampled_from([0.1, 1.0, 8.0]))
    given_inputs = [values((ROWS, *shape), seed + i, scale) for i, shape in enumerate(inputs)]
    return node, result, given_inputs, [values(shape, seed + 10 + i) for i, shape in enumerate(weights)]


def _torch(arrays: list[Any], dtype: torch.dtype) -> list[torch.Tensor]:
    return [torch.from_numpy(array).to(dtype) for array in arrays]


def _by_row(node: Node, inputs: list[torch.Tensor], weights: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([apply_row(node, [value[row] for value in inputs], weights) for row in range(ROWS)])


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_torch_and_numpy_agree_on_batches_and_on_rows(name: str, data: st.DataObject) -> None:
    """To 1e-9 in float64 and 1e-4 of the largest number in float32; the shape is the declared one."""
    node, shape, inputs, weights = _case(data, name)
    expected = FUNCTIONS[name](
        node, [value.astype(np.float64) for value in inputs], [weight.astype(np.float64) for weight in weights]
    )
    assert expected.shape == (ROWS, *shape)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        given_inputs, given_weights = _torch(inputs, dtype), _torch(weights, dtype)
        rows = _by_row(node, given_inputs, given_weights)
        mapped = torch.func.vmap(lambda *row: apply_row(node, row, given_weights))(*given_inputs)  # noqa: B023
        found = [rows, mapped] + ([apply(node, given_inputs, given_weights)] if name in PROVEN else [])
        for result in found:
            assert result.dtype is dtype
            assert result.shape == expected.shape
            assert np.abs(result.numpy() - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("name", PROVEN)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_in_its_slot_a_row_is_computed_whatever_the_others_hold(name: str, data: st.DataObject) -> None:
    """float32, bit for bit, in the result and in the gradient that flows back to the row: the batch is never mixed."""
    node, _, inputs, weights = _case(data, name)
    slot = data.draw(st.integers(0, ROWS - 1))
    others = np.arange(ROWS) != slot
    changed = [value.copy() for value in inputs]
    for value in changed:
        value[others] = data.draw(st.sampled_from(HOSTILE)) if data.draw(st.booleans()) else value[others][::-1]
    one, two = (_result_and_gradient(node, arrays, weights, slot) for arrays in (inputs, changed))
    for before, after in zip(one, two, strict=True):
        assert before.tobytes() == after.tobytes()


def _result_and_gradient(node: Node, inputs: list[Any], weights: list[Any], slot: int) -> list[Any]:
    leaves = [tensor.requires_grad_() for tensor in _torch(inputs, torch.float32)]
    result = apply(node, leaves, _torch(weights, torch.float32))
    result.sum().backward() if result.requires_grad else None
    gradients = [leaf.grad[slot].numpy() for leaf in leaves if leaf.grad is not None]
    return [result.detach()[slot].numpy(), *gradients]


@pytest.mark.parametrize("name", NAMES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_numpy_gives_a_row_the_same_bits_in_any_company(name: str, data: st.DataObject) -> None:
    """Alone, in a part of the rows, in another order, beside hostile rows."""
    node, _, inputs, weights = _case(data, name)
    doubles = [value.astype(np.float64) for value in inputs]
    numbers = [weight.astype(np.float64) for weight in weights]
    with np.errstate(all="ignore"):
        whole = FUNCTIONS[name](node, doubles, numbers)
        order = np.array(data.draw(st.permutations(range(ROWS))))[: data.draw(st.integers(1, ROWS))]
        part = FUNCTIONS[name](node, [value[order] for value in doubles], numbers)
        assert np.ascontiguousarray(part).tobytes() == np.ascontiguousarray(whole[order]).tobytes()
        for value in doubles:
            value[1:] = data.draw(st.sampled_from(HOSTILE))
        alone = FUNCTIONS[name](node, doubles, numbers)[0]
    assert np.ascontiguousarray(alone).tobytes() == np.ascontiguousarray(whole[0]).tobytes()


@pytest.mark.parametrize("name", UNPROVEN)
@given(st.data())
@settings(max_examples=5, deadline=None)
def test_an_operation_without_proof_never_runs_on_a_batch(name: str, data: st.DataObject) -> None:
    """The refusal names the node."""
    node, _, inputs, weights = _case(data, name)
    with pytest.raises(InvalidError, match="node `y`"):
        apply(node, _torch(inputs, torch.float32), _torch(weights, torch.float32))


@given(graphs(), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_whatever_passes_the_check_runs_and_has_the_declared_shape(graph: ModelGraph, seed: int) -> None:
    """In numpy and as a module, for random chains of all operations; every value has the inferred shape."""
    try:
        model = check(graph)
    except PrivgateError:
        return
    weights = {weight.name: values(weight.shape, seed + i) for i, weight in enumerate(graph.weights)}
    rows = values((3, *graph.inputs[0].shape), seed)
    expected = forward(model, weights, rows)
    assert expected.shape == (3, model.outputs)
    with torch.no_grad():
        found = GraphModule(model, weights, torch.float64)(torch.from_numpy(rows).double())
    assert found.shape == (3, *model.output_shape)
    assert np.abs(found.numpy().reshape(3, -1) - expected).max() <= 1e-8 * max(1.0, np.abs(expected).max())
    assert model.proven == all(node.op in PROVEN for node in graph.nodes)
    assert ModelGraph.from_json(graph.to_json()) == graph


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@given(graphs(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_opacus_finds_the_gradient_of_every_row_of_a_proven_graph(graph: ModelGraph, seed: int) -> None:
    """Each weight has a layer that it knows; per-row gradients are those of the rows alone."""
    from opacus.grad_sample import GradSampleModule

    try:
        model = check(graph)
    except PrivgateError:
        return
    if not model.proven:
        return
    weights = {weight.name: values(weight.shape, seed + i) for i, weight in enumerate(graph.weights)}
    rows = torch.from_numpy(values((3, *graph.inputs[0].shape), seed)).double()
    module = GraphModule(model, weights, torch.float64)
    samples = GradSampleModule(module, batch_first=True, loss_reduction="sum", strict=True)
    samples(rows).sum().backward()
    alone = GraphModule(model, weights, torch.float64)
    for row in range(3):
        alone.zero_grad()
        alone(rows[row : row + 1]).sum().backward()
        for name, parameter in module.by_name().items():
            expected = alone.by_name()[name].grad
            if expected is None:
                # Below a table that reads what a weight gave there is no way back to it: no gradient, for both.
                assert parameter.grad_sample is None
                continue
            found = parameter.grad_sample[row]
            assert (found - expected).abs().max() <= 1e-8 * max(1.0, float(expected.abs().max()))
