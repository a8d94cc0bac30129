"""Blind logistic training: the owner's side, and the side that computes without seeing.

Rules
-----
1. The worker holds ciphertexts and evaluation keys. Nothing that it has decrypts anything.
2. Short again only where it must be: products are relinearised before rotations and further products, their sums once.
3. The owner's numbers never leave `BlindOwner` but encrypted, until he asks for the weights.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tenseal.sealapi as seal

from kernel.errors import ConflictError
from privacy.homomorphic.blind.recipe import PROFILE, BlindRecipe, Floats, K, Scales, require_range
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
from privacy.sealing.secret import SecretBytes


class BlindOwner:
    """Who has the rows, the key and the model.

    Args:
        recipe: What is trained; try `dry_run` first.
        rows: Shape [rows, features], in [-1, 1]; at most as many as the recipe announces.
        labels: 0 or 1.
        keys: His keys, if he made them before; the evaluation keys are then not needed again.
        weights: Where he stands.
        epochs: How many epochs were made.
    """

    def __init__(
        self,
        recipe: BlindRecipe,
        rows: Floats,
        labels: Floats,
        *,
        keys: OwnKeys | None = None,
        weights: Floats | None = None,
        epochs: int = 0,
    ) -> None:
        self._recipe, self._rows, self._labels = recipe, rows, labels
        self._keys = keys or make_own_keys(PROFILE, recipe.rotations, products=True)
        self._scales = Scales.of(PROFILE)
        self.weights: Floats = np.zeros(recipe.features) if weights is None else weights
        self.epochs = epochs

    @property
    def secret(self) -> SecretBytes:
        """His alone."""
        return self._keys.secret

    @property
    def evaluation_keys(self) -> bytes:
        """For the worker: products and rotations."""
        return self._keys.evaluation

    def data(self) -> bytes:
        """For the worker, once: rows, then labels."""
        slots = self._recipe.slots_of_rows(self._rows) + self._recipe.slots_of_labels(self._labels)
        return encrypt_vectors(PROFILE, self._keys.secret, slots)

    def weights_body(self) -> bytes:
        """For the worker, each epoch: the weights, freshly encrypted.

        Raises:
            ConflictError: All epochs were made.
        """
        if self.epochs == self._recipe.epochs:
            raise ConflictError("all epochs of this recipe were made")
        return encrypt_vectors(PROFILE, self._keys.secret, [self._recipe.slots_of_weights(self.weights)])

    def refresh(self, body: bytes) -> None:
        """Read the gradient and step.

        Raises:
            CorruptError: The body is no such gradient.
            InvalidError: The predictor has left the polynomial's range: the weights stay as they were.
        """
        found = read_results(
            PROFILE,
            self._keys.secret,
            body,
            count=1,
            level=self._scales.level,
            scale=self._scales.gradient,
        )
        gradient = self._recipe.gradient_of(found[0], len(self._rows))
        with np.errstate(all="ignore"):
            weights = self._recipe.stepped(self.weights, gradient)
            largest = float(np.abs(self._rows @ weights).max())
        require_range(largest)
        self.weights = weights
        self.epochs += 1


class BlindWorker:
    """Who computes.

    Args:
        recipe: What is trained.
        keys: The owner's evaluation keys.
        data: His rows and labels, encrypted.

    Raises:
        CorruptError: Keys or data are not those of the recipe.
    """

    def __init__(self, recipe: BlindRecipe, keys: bytes, data: bytes) -> None:
        self._rotations = recipe.rotations
        self._keys = load_evaluation_keys(PROFILE, keys, recipe.rotations, products=True)
        place = context(PROFILE)
        self._evaluator, self._encoder = seal.Evaluator(place), seal.CKKSEncoder(place)
        loaded = load_vectors(PROFILE, data, 2 * recipe.ciphertexts)
        self._rows = loaded[: recipe.ciphertexts]
        self._short_rows = [self._lowered(one, 3) for one in self._rows]
        self._labels = [self._scaled(one) for one in loaded[recipe.ciphertexts :]]

    def gradient(self, weights: bytes) -> bytes:
        """The products of rows and errors, added over all ciphertexts.

        Raises:
            CorruptError: The body is no ciphertext of weights.
        """
        (own,) = load_vectors(PROFILE, weights, 1)
        total: Any = None
        for rows, short, label in zip(self._rows, self._short_rows, self._labels, strict=True):
            error = self._error(self._predictor(rows, own), label)
            term = seal.Ciphertext()
            self._evaluator.multiply(short, error, term)
            if total is None:
                total = term
            else:
                self._evaluator.add_inplace(total, term)
        self._shorten(total)
        return save_results(PROFILE, [total])

    def _predictor(self, rows: Any, weights: Any) -> Any:
        """The folded predictor of each row, in all of its slots."""
        total = seal.Ciphertext()
        self._evaluator.multiply(rows, weights, total)
        self._shorten(total)
        for steps in self._rotations:
            turned = seal.Ciphertext()
            self._evaluator.rotate_vector(total, steps, self._keys.rotations, turned)
            self._evaluator.add_inplace(total, turned)
        return total

    def _error(self, predictor: Any, label: Any) -> Any:
        """(1/2 - y) + z' (K - z'^2)."""
        square, plain = seal.Ciphertext(), seal.Plaintext()
        self._evaluator.square(predictor, square)
        self._shorten(square)
        self._evaluator.negate_inplace(square)
        self._encoder.encode(K, square.parms_id(), square.scale, plain)
        self._evaluator.add_plain_inplace(square, plain)
        self._evaluator.mod_switch_to_next_inplace(predictor)
        self._evaluator.multiply_inplace(square, predictor)
        self._evaluator.add_inplace(square, label)
        self._shorten(square)
        return square

    def _shorten(self, product: Any) -> None:
        self._evaluator.relinearize_inplace(product, self._keys.products)
        self._evaluator.rescale_to_next_inplace(product)

    def _lowered(self, ciphertext: Any, levels: int) -> Any:
        for _ in range(levels):
            lower = seal.Ciphertext()
            self._evaluator.mod_switch_to_next(ciphertext, lower)
            ciphertext = lower
        return ciphertext

    def _scaled(self, label: Any) -> Any:
        """A label at the level and scale of the product that it is added to."""
        lower, plain = self._lowered(label, 2), seal.Plaintext()
        self._encoder.encode(1.0, lower.parms_id(), Scales.of(PROFILE).label, plain)
        self._evaluator.multiply_plain_inplace(lower, plain)
        return lower
