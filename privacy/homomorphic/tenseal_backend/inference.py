"""A model in the clear on encrypted features: a slot for each row, a ciphertext for each feature.

Rules
-----
1. Every scale is exact: a weight is encoded at the scale that makes its product, rescaled by the very prime that goes,
   have the profile's scale again.
2. A weight that would be encoded as zero is left out: SEAL refuses to make a ciphertext that hides nothing.
3. Squares are made short before they are rescaled: the third part of a product would carry its rounding to the answer.
4. The client's part (`asking`, `ask`, `answers`) runs where the client is: nobody else ever has his key.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tenseal.sealapi as seal

from kernel.errors import InvalidError
from privacy.homomorphic.inference import RESULT_LEVEL, Layer, Scored, Shape
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.tenseal_backend.approximate import (
    OwnKeys,
    encrypt_vectors,
    load_evaluation_keys,
    load_vectors,
    make_own_keys,
    read_results,
    save_results,
)
from privacy.homomorphic.tenseal_backend.contexts import context


def asking(shape: Shape) -> OwnKeys:
    """Draw a client's keys for models of this shape."""
    return make_own_keys(shape.profile, products=shape.products)


def ask(shape: Shape, keys: OwnKeys, rows: Sequence[Sequence[float]]) -> bytes:
    """Encrypt rows, clipped to [-1, 1]; raise `InvalidError` if there are more than slots, or of another width."""
    if not 0 < len(rows) <= shape.profile.slots or any(len(row) != shape.features for row in rows):
        raise InvalidError(f"1 to {shape.profile.slots} rows of {shape.features} numbers", field="rows")
    clipped = [[min(1.0, max(-1.0, number)) for number in row] for row in rows]
    return encrypt_vectors(shape.profile, keys.secret, list(zip(*clipped, strict=True)))


def answers(shape: Shape, keys: OwnKeys, body: bytes, rows: int) -> list[list[float]]:
    """Read what came back, one list of scores for each row.

    Raises:
        CorruptError: The body is no answer of a model of this shape.
    """
    scale = 2.0**shape.profile.scale_bits
    found = read_results(shape.profile, keys.secret, body, count=shape.outputs, level=RESULT_LEVEL, scale=scale)
    return [[column[row] for column in found] for row in range(rows)]


def infer(model: Scored, evaluation: bytes, features: bytes) -> bytes:
    """Evaluate a model on encrypted rows.

    Args:
        model: In the clear.
        evaluation: The client's key for products; nothing where the model needs none.
        features: As many fresh ciphertexts as the model has features.

    Raises:
        CorruptError: Keys or ciphertexts are not those of the model's shape.
    """
    vectors = load_vectors(model.shape.profile, features, model.shape.features)
    return save_results(model.shape.profile, evaluated(model, evaluation, vectors))


def evaluated(model: Scored, evaluation: bytes, vectors: Sequence[Any]) -> list[Any]:
    """SEAL's ciphertexts of the scores, from those of the features, which stay as they are."""
    shape = model.shape
    keys = load_evaluation_keys(shape.profile, evaluation, products=shape.products)
    engine = _Engine(shape.profile)
    made = engine.layer(model.layers[0], vectors)
    if shape.products:
        for one in made:
            engine.square(one, keys.products)
        made = engine.layer(model.layers[1], made)
    return made


class _Engine:
    """SEAL's evaluator with exact scales."""

    def __init__(self, profile: Profile) -> None:
        self._scale = 2.0**profile.scale_bits
        self._primes = profile.data_primes
        self._evaluator = seal.Evaluator(context(profile))
        self._encoder = seal.CKKSEncoder(context(profile))

    def layer(self, layer: Layer, inputs: Sequence[Any]) -> list[Any]:
        """Weighted sums, each at the profile's scale, one level further down."""
        one = inputs[0]
        scale = self._scale * self._primes[one.coeff_modulus_size() - 1] / one.scale
        return [self._output(row, bias, inputs, scale) for row, bias in zip(layer.weights, layer.bias, strict=True)]

    def square(self, one: Any, products: Any) -> None:
        """Square in place, one level further down."""
        self._evaluator.square_inplace(one)
        self._evaluator.relinearize_inplace(one, products)
        self._evaluator.rescale_to_next_inplace(one)

    def _output(self, weights: Sequence[float], bias: float, inputs: Sequence[Any], scale: float) -> Any:
        total = self._weighted(weights, inputs, scale)
        self._evaluator.rescale_to_next_inplace(total)
        plain = seal.Plaintext()
        self._encoder.encode(bias, total.parms_id(), total.scale, plain)
        self._evaluator.add_plain_inplace(total, plain)
        return total

    def _weighted(self, weights: Sequence[float], inputs: Sequence[Any], scale: float) -> Any:
        """The products' sum; each product lies where the one before lay, which the processor has at hand."""
        plain, term, total = seal.Plaintext(), seal.Ciphertext(), None
        for one, weight in zip(inputs, weights, strict=True):
            if round(weight * scale):
                self._encoder.encode(weight, one.parms_id(), scale, plain)
                self._evaluator.multiply_plain(one, plain, term)
                if total is None:
                    total, term = term, seal.Ciphertext()
                else:
                    self._evaluator.add_inplace(total, term)
        return total
