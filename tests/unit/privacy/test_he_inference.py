"""Encrypted inference: the client reads what the model says in the clear; what cannot be evaluated is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from kernel.errors import CorruptError, InvalidError, PrivgateError
from privacy.homomorphic.confined import Confined, FailedTaskError
from privacy.homomorphic.inference import Layer, Scored, Shape
from privacy.homomorphic.tenseal_backend.inference import answers, ask, asking, infer


def layer(outputs: int, inputs: int, seed: int = 3) -> Layer:
    """Weights that keep numbers near 1."""
    source = random.Random(seed)
    rows = tuple(tuple(source.gauss(0, inputs**-0.5) for _ in range(inputs)) for _ in range(outputs))
    return Layer(rows, tuple(source.gauss(0, 0.3) for _ in range(outputs)))


MODELS = {
    "linear": Scored((layer(1, 30),)),
    "classes": Scored((layer(3, 12),)),
    "square": Scored((layer(8, 20), layer(4, 8))),
}


def rows_for(model: Scored, count: int) -> list[list[float]]:
    """Rows, some beyond what is clipped."""
    source = random.Random(4)
    return [[source.uniform(-1.2, 1.2) for _ in range(model.shape.features)] for _ in range(count)]


def worst(model: Scored, rows: Sequence[Sequence[float]], found: Sequence[Sequence[float]]) -> float:
    """The largest difference from what the model says in the clear."""
    return max(
        abs(a - b) for row, got in zip(rows, found, strict=True) for a, b in zip(model.of(row), got, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_client_reads_what_the_model_says(name: str) -> None:
    """A batch of any size, within ten times the profile's expected error: scores are a few times larger than 1."""
    model = MODELS[name]
    shape = Shape.from_json(model.shape.to_json())
    keys, rows = asking(shape), rows_for(model, 200)
    body = ask(shape, keys, rows)
    assert len(body) == shape.request_bytes
    answer = infer(model, keys.evaluation, body)
    assert len(answer) == shape.answer_bytes
    assert worst(model, rows, answers(shape, keys, answer, 200)) < 10 * float(shape.profile.expected_error)


def test_weights_of_nothing_are_left_out() -> None:
    """A weight of zero, or too small to encode, neither fails nor counts."""
    model = Scored((Layer(((0.0, 0.5, 1e-12, -0.25),), (0.1,)),))
    keys, rows = asking(model.shape), rows_for(model, 3)
    found = answers(model.shape, keys, infer(model, b"", ask(model.shape, keys, rows)), 3)
    assert worst(model, rows, found) < 1e-4


def test_a_confined_child_does_the_same_and_refuses_what_is_hostile() -> None:
    """Whatever a client sends: its answer, or one failure."""
    model, confined = MODELS["square"], Confined()
    keys, rows = asking(model.shape), rows_for(model, 5)
    body = ask(model.shape, keys, rows)
    answer = confined.infer(model, keys.evaluation, body)
    assert worst(model, rows, answers(model.shape, keys, answer, 5)) < 1e-3
    hostile = keys.evaluation[:400] + b"\xff" * 64 + keys.evaluation[464:]
    for evaluation, features in ((hostile, body), (b"", body), (keys.evaluation, body[:-1]), (keys.evaluation, b"")):
        with pytest.raises(FailedTaskError):
            confined.infer(model, evaluation, features)


def test_an_answer_of_another_shape_is_refused() -> None:
    """By its client, before it is decrypted."""
    linear, classes = MODELS["linear"], MODELS["classes"]
    keys = asking(classes.shape)
    answer = infer(classes, b"", ask(classes.shape, keys, rows_for(classes, 2)))
    with pytest.raises(CorruptError):
        answers(linear.shape, keys, answer, 2)
    with pytest.raises(CorruptError):
        infer(linear, b"", ask(classes.shape, keys, rows_for(classes, 2)))


@pytest.mark.parametrize(
    "layers",
    [
        (), (layer(1, 2),) * 3, (layer(3, 4), layer(1, 2)), (Layer(((2.0**8,),), (0.0,)),), (layer(65, 2),),
        (layer(1, 513),), (layer(2, 3), Layer(((2.0**13, 2.0**13),), (0.0,))),
    ],
    ids=["none", "three", "do not fit", "too large", "outputs", "features", "too large squared"],
)  # fmt: skip
def test_a_model_that_cannot_be_evaluated_is_refused(layers: tuple[Layer, ...]) -> None:
    """By its shape and its weights, before anybody encrypts anything for it."""
    with pytest.raises(InvalidError):
        Scored(layers)


def test_a_layer_is_whole_and_finite() -> None:
    """No weights, ragged rows, an output that hangs on nothing, numbers that are none."""
    wrong: list[tuple[tuple[tuple[float, ...], ...], tuple[float, ...]]] = [
        ((), ()), (((),), (0.0,)), (((1.0,), (1.0, 2.0)), (0.0, 0.0)), (((1.0,),), ()), (((0.0, 1e-9),), (1.0,)),
        (((float("nan"), 1.0),), (0.0,)), (((1.0,),), (float("inf"),)),
    ]  # fmt: skip
    for weights, bias in wrong:
        with pytest.raises(InvalidError):
            Layer(weights, bias)


def test_a_model_is_read_strictly() -> None:
    """What it writes comes back exactly; anything else is refused."""
    model = MODELS["square"]
    assert Scored.from_bytes(model.to_bytes()) == model
    for data in (
        b"{}",
        b"[]",
        b'[{"bias":["0x1p0"],"weights":[["x"]]}]',
        b'[{"bias":[1],"weights":[["0x1p0"]]}]',
        b"[1]",
    ):
        with pytest.raises(PrivgateError):
            Scored.from_bytes(data)
    with pytest.raises(InvalidError):
        ask(model.shape, asking(model.shape), [[0.0] * 19])
