"""Encrypted inference: a client sends encrypted features, a released model is evaluated, the client alone reads. Pure.

How it is called
----------------
- gateway:  `scored_of(graph, weights)` (`released`) reads a released model; `Confined().infer(model, keys, body)`, or
            `infer` of `tenseal_backend.inference` in a child of one's own.
- client:   `asking(shape)` makes keys; `ask(shape, keys, rows)` encrypts; `answers(shape, keys, body, rows)` reads
            (`tenseal_backend.inference`, on the client's own machine).

Rules
-----
1. Features come encrypted, a ciphertext for each feature and a slot for each row: one row costs as much as all slots.
2. The model is in the clear with whoever evaluates. Whoever reads answers can learn a model by asking often; only
   released models are evaluated.
3. Linear models, and two layers with the square between. Inputs lie in [-1, 1], so that every value is bounded by the
   weights. A model whose scores would outgrow the modulus is refused, or halved until they do not (`Scored.fitting`).
4. Profile, level and scale of an answer follow from the number of layers: the client needs no weight.

Form: docs/formats/he-child.md, "Inference".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from kernel import canonical
from kernel.checks import finite, whole
from kernel.errors import InvalidError
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.wire import ciphertext_bytes, evaluation_forms, result_form
from privacy.jobs.strict import members_of

MOST_FEATURES, MOST_HIDDEN, MOST_OUTPUTS = 512, 256, 64
MODEL_LIMIT = 2**24
WEIGHTS_LIMIT = 2**22
"""Of a released model's file."""
RESULT_LEVEL = 1
"""How many primes an answer has left: profiles are as deep as their models."""
_LEAST_WEIGHT = 2.0**-20
MOST_HALVINGS = 20
_LARGEST_HIDDEN = 2.0**20
_PROFILES = {1: profile_of("ckks-4096-linear"), 2: profile_of("ckks-8192-square")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a client has to know of a model.

    Attributes:
        features: How many numbers a row has.
        outputs: How many an answer has.
        layers: One, or two with the square between.
    """

    features: int
    outputs: int
    layers: int

    def __post_init__(self) -> None:
        whole(1, MOST_FEATURES, features=self.features)
        whole(1, MOST_OUTPUTS, outputs=self.outputs)
        whole(1, 2, layers=self.layers)

    @property
    def profile(self) -> Profile:
        """The parameters, which follow from the depth."""
        return _PROFILES[self.layers]

    @property
    def products(self) -> bool:
        """Whether ciphertexts are multiplied with each other: a key for that is sent along."""
        return self.layers == 2

    @property
    def key_bytes(self) -> int:
        """How long the client's keys for products are."""
        return sum(form.size for form in evaluation_forms(self.profile, (), products=True)) if self.products else 0

    @property
    def request_bytes(self) -> int:
        """How long a client's ciphertexts are, for as many rows as there are slots."""
        return self.features * ciphertext_bytes(self.profile, fresh=True)

    @property
    def answer_bytes(self) -> int:
        """How long an answer is."""
        return self.outputs * result_form(self.profile, RESULT_LEVEL, 2.0**self.profile.scale_bits).size

    def to_json(self) -> dict[str, Any]:
        """Encode."""
        return {"features": self.features, "layers": self.layers, "outputs": self.outputs}

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        return cls(**members_of(body, "shape", ("features", "layers", "outputs")))


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights, a row for each output, and what is added to each."""

    weights: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]

    def __post_init__(self) -> None:
        if {len(row) for row in self.weights} != {self.inputs} or len(self.bias) != len(self.weights):
            raise InvalidError("a layer has a row of weights and a bias for each output", field="model")
        for row, bias in zip(self.weights, self.bias, strict=True):
            if not all(math.isfinite(number) for number in (*row, finite(bias=bias))):
                raise InvalidError("a model that is evaluated encrypted has finite weights", field="model")
            if not any(abs(weight) >= _LEAST_WEIGHT for weight in row):
                raise InvalidError("an output that hangs on no input cannot be evaluated encrypted", field="model")

    @property
    def inputs(self) -> int:
        """How many numbers go in."""
        return len(self.weights[0]) if self.weights else 0

    def to_json(self) -> dict[str, Any]:
        """Encode; numbers as hexadecimal text, exactly."""
        return {"bias": [b.hex() for b in self.bias], "weights": [[w.hex() for w in row] for row in self.weights]}

    @classmethod
    def from_json(cls, body: Any) -> Self:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = members_of(body, "layer", ("bias", "weights"))
        try:
            rows = tuple(tuple(float.fromhex(w) for w in row) for row in members["weights"])
            return cls(rows, tuple(float.fromhex(b) for b in members["bias"]))
        except (TypeError, ValueError, OverflowError):
            raise InvalidError("a layer's numbers are hexadecimal text", field="model") from None

    def of(self, row: Sequence[float]) -> list[float]:
        """What the layer makes of one row, in the clear."""
        sums = (math.fsum(w * x for w, x in zip(weights, row, strict=True)) for weights in self.weights)
        return [total + bias for total, bias in zip(sums, self.bias, strict=True)]

    def times(self, factor: float) -> Layer:
        """The layer whose outputs are so many times as large."""
        rows = tuple(tuple(weight * factor for weight in row) for row in self.weights)
        return Layer(rows, tuple(bias * factor for bias in self.bias))

    def largest(self, size: float) -> float:
        """The largest size of an output, for inputs of at most this size."""
        return max(
            math.fsum(map(abs, row)) * size + abs(bias) for row, bias in zip(self.weights, self.bias, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """A model of one layer, or of two with the square between them."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if len(self.layers) == 2:
            whole(1, MOST_HIDDEN, hidden=len(self.layers[0].weights))
            if len(self.layers[0].weights) != self.layers[1].inputs:
                raise InvalidError("the second layer takes what the first gives", field="model")
        room = _room(self.shape.profile)
        if _largest(self.layers) >= 2.0**room:
            raise InvalidError(f"a score may come to 2^{room} at most, which these weights exceed", field="model")

    @classmethod
    def fitting(cls, layers: tuple[Layer, ...]) -> tuple[Self, int]:
        """A model whose scores have room, and how often they were halved for it.

        Raises:
            InvalidError: It is no such model, or no number of halvings up to `MOST_HALVINGS` makes it one.
        """
        if not 1 <= len(layers) <= 2:
            raise InvalidError("a model has one layer, or two with the square between", field="model")
        if len(layers) == 2 and layers[0].largest(1.0) >= _LARGEST_HIDDEN:
            raise InvalidError("what is squared is too large to be evaluated encrypted", field="model")
        over = _largest(layers) / 2.0 ** _room(_PROFILES[len(layers)])
        halvings = max(0, math.frexp(over)[1])
        if halvings > MOST_HALVINGS:
            raise InvalidError("its scores are too large to be evaluated encrypted", field="model")
        return cls((*layers[:-1], layers[-1].times(2.0**-halvings))), halvings

    @property
    def shape(self) -> Shape:
        """What a client has to know."""
        return Shape(
            features=self.layers[0].inputs if self.layers else 0,
            outputs=len(self.layers[-1].weights) if self.layers else 0,
            layers=len(self.layers),
        )

    def of(self, row: Sequence[float]) -> list[float]:
        """What the model makes of one row in the clear, clipped as a client clips."""
        made = self.layers[0].of([min(1.0, max(-1.0, number)) for number in row])
        return self.layers[1].of([number * number for number in made]) if len(self.layers) == 2 else made

    def to_bytes(self) -> bytes:
        """Write it, for a child."""
        return canonical.encode([layer.to_json() for layer in self.layers])

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` writes; raise `InvalidError` or `TooLargeError` otherwise."""
        body = canonical.decode(data, limit=MODEL_LIMIT, canonical=True)
        if not isinstance(body, list):
            raise InvalidError("a model is a list of layers", field="model")
        return cls(tuple(Layer.from_json(layer) for layer in body))


def _largest(layers: Sequence[Layer]) -> float:
    """The largest score of inputs of size 1."""
    size = 1.0
    for place, layer in enumerate(layers):
        size = layer.largest(size**2 if place else size)
    return size


def _room(profile: Profile) -> int:
    """How many bits an answer has before the point."""
    return profile.data_primes[0].bit_length() - profile.scale_bits - 2
