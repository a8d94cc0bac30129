"""Blind logistic training: the worker sees ciphertexts alone, and the weights are those of training in the clear."""

from __future__ import annotations

import numpy as np
import pytest

from kernel.errors import ConflictError, CorruptError, InvalidError
from privacy.homomorphic.blind.recipe import PROFILE, RANGE, BlindRecipe, Floats, K, Scales, dry_run, polynomial
from privacy.homomorphic.tenseal_backend.blind import BlindOwner, BlindWorker
from privacy.homomorphic.validator import holds_secret_key


def people(rows: int, features: int) -> tuple[Floats, Floats]:
    """Rows with a constant first, and labels that follow a logistic model."""
    source = np.random.default_rng(11)
    table = np.clip(source.normal(0, 1, (rows, features)) / np.sqrt(features), -1, 1)
    table[:, 0] = 1 / np.sqrt(features)
    chance = 1 / (1 + np.exp(-table @ source.normal(0, 4, features)))
    return table, (source.random(rows) < chance).astype(np.float64)


def test_blind_weights_are_those_of_training_in_the_clear() -> None:
    """Four epochs on rows of two ciphertexts end within 1e-3 of the dry run."""
    rows, labels = people(300, 12)
    recipe = BlindRecipe(rows=300, features=12, epochs=4, rate=2.0)
    assert recipe.ciphertexts == 2
    expected = dry_run(recipe, rows, labels)
    owner = BlindOwner(recipe, rows, labels)
    data = owner.data()
    worker = BlindWorker(recipe, owner.evaluation_keys, data)
    for _ in range(recipe.epochs):
        weights = owner.weights_body()
        assert not holds_secret_key(weights)
        owner.refresh(worker.gradient(weights))
    assert not holds_secret_key(owner.evaluation_keys + data)
    assert np.abs(expected.weights).max() > 0.1
    assert np.abs(owner.weights - expected.weights).max() < 1e-3
    with pytest.raises(ConflictError):
        owner.weights_body()


def test_rows_lie_feature_major_and_padding_adds_nothing() -> None:
    """What the slots of rows and errors multiply to is the gradient, in plain arithmetic as in ciphertexts."""
    rows, labels = people(70, 5)
    recipe = BlindRecipe(rows=70, features=5, epochs=1)
    assert (recipe.padded, recipe.rows_each, recipe.ciphertexts) == (8, 512, 1)
    weights = np.random.default_rng(0).normal(0, 1, 5)
    (slots,), (halves,) = recipe.slots_of_rows(rows), recipe.slots_of_labels(labels)
    products = np.array(slots) * np.array(recipe.slots_of_weights(weights))
    total = products.copy()
    for steps in recipe.rotations:
        total = total + np.roll(total, -steps)
    errors = np.array(halves) + total * (K - total**2)
    expected = rows.T @ (polynomial(rows @ weights) - labels) / 70
    assert recipe.gradient_of((np.array(slots) * errors).tolist()) == pytest.approx(expected, abs=1e-12)


def test_a_predictor_beyond_the_polynomial_ends_it() -> None:
    """A learning rate that is too high is refused before anything is encrypted, and at the owner on the way."""
    rows, labels = people(200, 6)
    wild = BlindRecipe(rows=200, features=6, epochs=60, rate=60.0, decay=0.0)
    with pytest.raises(InvalidError, match="polynomial"):
        dry_run(wild, rows, labels)
    grid = np.linspace(-RANGE, RANGE, 1001)
    assert np.abs(polynomial(grid) - 1 / (1 + np.exp(-grid))).max() < 0.12


def test_hostile_bodies_are_refused() -> None:
    """Truncated data, foreign keys and a ciphertext in place of the gradient are corrupt."""
    rows, labels = people(50, 4)
    recipe = BlindRecipe(rows=50, features=4, epochs=2)
    owner = BlindOwner(recipe, rows, labels)
    data = owner.data()
    with pytest.raises(CorruptError):
        BlindWorker(recipe, owner.evaluation_keys, data[:-1])
    with pytest.raises(CorruptError):
        BlindWorker(recipe, owner.evaluation_keys[:-1], data)
    worker = BlindWorker(recipe, owner.evaluation_keys, data)
    with pytest.raises(CorruptError):
        worker.gradient(b"nothing")
    with pytest.raises(CorruptError):
        owner.refresh(owner.weights_body())
    for table, answers in ((rows * 9, labels), (rows[:-1], labels), (rows, labels + 1)):
        with pytest.raises(InvalidError):
            dry_run(recipe, table, answers)


def test_scales_leave_room_for_the_gradient() -> None:
    """What is left of the modulus holds a gradient summed over the most ciphertexts that a recipe may have."""
    scales = Scales.of(PROFILE)
    assert scales.level == 1
    assert PROFILE.data_primes[0] / scales.gradient / 2 > 2**12
    assert scales.gradient == pytest.approx(2**30, rel=1e-2)
