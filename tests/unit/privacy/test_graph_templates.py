"""Templates: what a few choices become, their limits, and one written form."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from kernel.errors import InvalidError, TooLargeError
from privacy.graph.check import check
from privacy.graph.forward import forward
from privacy.graph.spec import InitialRule
from privacy.graph.templates import ModelChoice
from privacy.graph.torch_module import GraphModule
from tests.support.drawn_graphs import values

CNN = {"template": "cnn", "image": [1, 28, 28]}
TRANSFORMER = {"template": "transformer", "vocabulary": 1000, "length": 32}
SMALL = {"template": "transformer", "vocabulary": 7, "length": 5, "dim": 8, "heads": 2, "layers": 1}


def test_the_small_convolutional_network_is_the_literatures() -> None:
    """26,010 weights on 28 x 28 with ten classes."""
    model = check(ModelChoice.from_json(CNN).graph(784, 10))
    assert (model.graph.weight_elements, model.outputs, model.proven) == (26_010, 10, True)
    assert check(ModelChoice.from_json({"template": "softmax"}).graph(81, 10)).graph.weight_elements == 820


def test_a_transformer_has_what_its_choices_say() -> None:
    """Tables, two layers of attention and perceptron, normalisation and scores."""
    dim, layer = 64, 4 * (64 * 64 + 64) + 2 * 4 * 64 * 64 + 5 * 64 + 4 * 64
    model = check(ModelChoice.from_json(TRANSFORMER).graph(32, 2))
    assert model.graph.weight_elements == 1000 * dim + 32 * dim + 2 * layer + 2 * dim + 2 * dim + 2
    assert {weight.init.rule for weight in model.graph.weights} == {
        InitialRule.ZEROS, InitialRule.UNIFORM, InitialRule.CONSTANT
    }  # fmt: skip


@pytest.mark.parametrize(("body", "width"), [(CNN, 784), (SMALL, 5), ({"template": "softmax"}, 6)])
def test_a_templates_module_and_numpy_agree(body: dict[str, Any], width: int) -> None:
    """On the rows that it is made for, and a row scored alone has the same bits."""
    model = check(ModelChoice.from_json(body).graph(width, 3))
    weights = {weight.name: values(weight.shape, i, 0.3) for i, weight in enumerate(model.graph.weights)}
    rows = np.abs(values((9, width), 0, 3.0))
    expected = forward(model, weights, rows)
    with torch.no_grad():
        shaped = torch.from_numpy(rows.reshape(9, *model.graph.inputs[0].shape)).double()
        found = GraphModule(model, weights, torch.float64)(shaped).numpy()
    assert np.abs(found - expected).max() <= 1e-10 * max(1.0, np.abs(expected).max())
    for row in range(9):
        assert forward(model, weights, rows[row : row + 1]).tobytes() == expected[row : row + 1].tobytes()


@pytest.mark.parametrize(
    "body",
    [
        {"template": "mlp", "hidden": [7, 3], "activation": "relu"},
        {"template": "linear"},
        {"template": "cnn", "image": [3, 32, 32], "channels": [8, 8], "hidden": [], "activation": "gelu"},
        {"template": "transformer", "vocabulary": 9, "length": 4, "dim": 8, "heads": 1, "layers": 8,
         "activation": "relu"},
    ],
)  # fmt: skip
def test_the_written_form_has_every_choice(body: dict[str, Any]) -> None:
    """What was written comes back; defaults are written out."""
    assert ModelChoice.from_json(body).to_json() == body
    assert ModelChoice.from_json(CNN).to_json() == CNN | {"channels": [16, 32], "hidden": [32], "activation": "tanh"}
    for written in (CNN, TRANSFORMER):
        choice = ModelChoice.from_json(written)
        assert ModelChoice.from_json(choice.to_json()) == choice


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"image": [28, 28]}, "channels, height and width"),
        ({"image": [17, 28, 28]}, "channels, from 1 to 16"),
        ({"image": [1, 13, 28]}, "between 14 and 256"),
        ({"image": [1, "28", 28]}, "whole numbers"),
        ({"channels": [16]}, "two widths"),
        ({"hidden": [8] * 8 + [8]}, "at most 8"),
    ],
    ids=str,
)
def test_the_sentence_is_about_the_number_that_is_wrong(change: dict[str, Any], told: str) -> None:
    """How many there are, the first, the others, or their kind."""
    with pytest.raises(InvalidError, match=told):
        ModelChoice.from_json(CNN | change)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"template": "linear", "hidden": [1]}, "model"),
        ({"template": "softmax", "image": [1, 28, 28]}, "model"),
        ({"template": "mlp"}, "hidden"),
        ({"template": "cnn"}, "image"),
        (CNN | {"image": [28, 28]}, "image"),
        (CNN | {"image": [1, 13, 28]}, "image"),
        (CNN | {"image": [1, 28, 257]}, "image"),
        (CNN | {"channels": [16]}, "channels"),
        (CNN | {"hidden": "8"}, "hidden"),
        (CNN | {"activation": "swish"}, "activation"),
        (TRANSFORMER | {"heads": 5}, "heads"),
        (TRANSFORMER | {"heads": True}, "heads"),
        (TRANSFORMER | {"layers": 9}, "layers"),
        (TRANSFORMER | {"vocabulary": "7"}, "vocabulary"),
        ({"template": "resnet"}, "template"),
    ],
)
def test_choices_out_of_range_are_refused_by_their_field(body: dict[str, Any], field: str) -> None:
    """The field that the message is about is the one to change."""
    with pytest.raises(InvalidError) as caught:
        ModelChoice.from_json(body)
    assert caught.value.field == field


def test_rows_must_hold_what_the_choices_say() -> None:
    """An image of another size, a sequence of another length; and what is too large in all."""
    for body, width, field in ((CNN, 783, "image"), (TRANSFORMER, 33, "length")):
        with pytest.raises(InvalidError) as caught:
            ModelChoice.from_json(body).graph(width, 2)
        assert caught.value.field == field
    with pytest.raises(TooLargeError):
        check(ModelChoice.from_json(TRANSFORMER | {"vocabulary": 65_536}).graph(32, 2))
