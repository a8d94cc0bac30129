"""The usual ways, replayed: one CKKS vector for each layer with its context attached, and the tutorials of TenSEAL.

Rules
-----
1. Parameters and steps are those of the code path that is replayed; nothing is made slower than it is there.
2. What is timed leaves out what the other side might call unfair: encryption is timed without serialisation, and
   evaluation without encryption and decryption.
"""

from __future__ import annotations

import contextlib
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import tenseal as ts
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_BLOCKS: Final = ((16, 3), (32, 3), (64, 3))


def resnet20_shapes() -> list[tuple[int, ...]]:
    """The 97 tensors of a ResNet-20 for 10 classes, running statistics included: 271,098 numbers."""
    shapes: list[tuple[int, ...]] = [(16, 3, 3, 3), *[(16,)] * 4]
    width = 16
    for channels, blocks in _BLOCKS:
        for _ in range(blocks):
            for into in (width, channels):
                shapes += [(channels, into, 3, 3), *[(channels,)] * 4]
            width = channels
    return [*shapes, (10, width), (10,)]


def update(seed: int) -> list[Floats]:
    """A client's update: one array for each tensor."""
    source = np.random.default_rng(seed)
    return [source.normal(0, 0.05, shape) for shape in resnet20_shapes()]


def sum_context() -> Any:
    """As federated averaging ships it: degree 8192, moduli of 60, 40 and 40 bits, scale 2^40, symmetric."""
    context = ts.context(
        ts.SCHEME_TYPE.CKKS,
        poly_modulus_degree=8192,
        coeff_mod_bit_sizes=[60, 40, 40],
        encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )
    context.global_scale = 2**40
    return context


def encrypted_layers(context: Any, layers: Sequence[Floats]) -> list[Any]:
    """One vector for each layer."""
    with _silent():
        return [ts.ckks_vector(context, layer.ravel()) for layer in layers]


def shipped(vectors: Sequence[Any]) -> list[tuple[bytes, bytes]]:
    """What travels: each vector with its context."""
    return [(vector.serialize(), vector.context().serialize()) for vector in vectors]


def received(pairs: Sequence[tuple[bytes, bytes]]) -> list[Any]:
    """What a server loads: a context for each vector."""
    return [ts.ckks_vector_from(ts.context_from(context, n_threads=1), vector) for vector, context in pairs]


def added(total: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """The sums, layer by layer."""
    return [own + other for own, other in zip(total, others, strict=True)]


class TutorialTraining:
    """Tutorial 1: a ciphertext for each row, `dot`, a polynomial of degree 3 on |z| < 5, a step after all rows."""

    def __init__(self, rows: Floats, labels: Floats) -> None:
        self.context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, -1, [40, 21, 21, 21, 21, 21, 21, 40], n_threads=1)
        self.context.global_scale = 2**21
        self.context.generate_galois_keys()
        self._rows = [ts.ckks_vector(self.context, row.tolist()) for row in rows]
        self._labels = [ts.ckks_vector(self.context, [float(label)]) for label in labels]
        self.weight = ts.ckks_vector(self.context, [0.0] * rows.shape[1])
        self.bias = ts.ckks_vector(self.context, [0.0])
        self._delta_w: Any = 0
        self._delta_b: Any = 0

    def pass_row(self, place: int) -> None:
        """Forward and backward for one row."""
        row = self._rows[place]
        error = (row.dot(self.weight) + self.bias).polyval([0.5, 0.197, 0, -0.004]) - self._labels[place]
        self._delta_w = row * error + self._delta_w
        self._delta_b = error + self._delta_b

    def step(self) -> None:
        """The update after all rows."""
        share = 1 / len(self._rows)
        self.weight -= self._delta_w * share + self.weight * 0.05
        self.bias -= self._delta_b * share
        self._delta_w = self._delta_b = 0

    def weights(self) -> Floats:
        """Decrypted: weights, then bias."""
        return np.array([*self.weight.decrypt(), *self.bias.decrypt()])


def tutorial_step_in_the_clear(rows: Floats, labels: Floats) -> Floats:
    """The tutorial's first step from zero weights, in the clear."""
    error = 0.5 - labels
    return np.array([*(-(rows.T @ error) / len(rows)), -error.mean()])


class Tutorial(ABC):
    """A model of a tutorial: one row, one message, one answer."""

    _context: ts.Context

    def encrypted(self, row: Floats) -> Any:
        """One row."""
        return ts.ckks_vector(self._context, row.tolist())

    @abstractmethod
    def evaluated(self, row: Any) -> Any:
        """Its scores, encrypted."""

    def answered(self, message: bytes) -> bytes:
        """Its scores as they travel, from the row as it came."""
        return bytes(self.evaluated(ts.ckks_vector_from(self._context, message)).serialize())


class TutorialLinear(Tutorial):
    """Tutorial 1, evaluation: degree 4096, moduli of 40, 20 and 40 bits, scale 2^20, `dot` row by row."""

    def __init__(self, weights: Floats, bias: float) -> None:
        self._context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, -1, [40, 20, 40], n_threads=1)
        self._context.global_scale = 2**20
        self._context.generate_galois_keys()
        self._weights, self._bias = weights.tolist(), [bias]

    def evaluated(self, row: Any) -> Any:
        """Its score, encrypted."""
        return row.dot(self._weights) + self._bias


class TutorialSquare(Tutorial):
    """Tutorial 4, its last layers: degree 8192, scale 2^26, `matmul`, square, `matmul`, row by row."""

    def __init__(self, first: Floats, bias: Floats, second: Floats, last: Floats) -> None:
        self._context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, -1, [31, 26, 26, 26, 26, 26, 26, 31], n_threads=1)
        self._context.global_scale = 2**26
        self._context.generate_galois_keys()
        self._layers = [first.T.tolist(), bias.tolist(), second.T.tolist(), last.tolist()]

    def evaluated(self, row: Any) -> Any:
        """Its scores, encrypted."""
        first, bias, second, last = self._layers
        hidden = row.matmul(first) + bias
        hidden.square_()
        return hidden.matmul(second) + last


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """The library warns on standard output of every vector that is longer than a ciphertext."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
