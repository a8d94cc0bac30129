"""The parent's side of the homomorphic child: one task each, bytes in and bytes out.

Rules
-----
1. Nothing here imports SEAL or numpy. A crash, a stall or a hostile body is a `FailedTaskError`; the caller lives on.
2. Limits are declared by task and length, before anything is read.

Used by agents of sites and key holders, by clients who ask a model, by the worker where the gateway adds or evaluates,
and by nobody in the API process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from kernel.checks import whole
from kernel.errors import CorruptError, PrivgateError
from privacy.homomorphic.blind.shape import BlindShape
from privacy.homomorphic.inference import MOST_HALVINGS, Scored, Shape
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.numbers import read_doubles, read_numbers, written_doubles, written_numbers
from privacy.homomorphic.profiles import Profile
from privacy.homomorphic.validator import (
    require_evaluation_keys,
    require_public_key,
    require_secret_key,
    require_sum,
    require_upload,
    require_vectors,
)
from privacy.sandbox.frames import expect
from privacy.sandbox.limits import MIB, Level, Limits
from privacy.sandbox.spawn import Child, spawn
from privacy.sealing.secret import SecretBytes

_LARGEST_KEY = 2**22
_MEMORY = 1024 * MIB
_FAILED = "a task on ciphertexts failed: an object that came in is not what its layout describes"
_DRAWN_A_SECOND = 1000
"""Exact samples, on a slow core that does other things as well."""


class FailedTaskError(CorruptError):
    """The child ended without a result: what it was given was refused, or it died. It is not said which."""


class Confined:
    """Runs each task in a confined child of its own.

    Args:
        minimum: The least confinement to go on with.
    """

    def __init__(self, minimum: Level = Level.LANDLOCK_AND_SECCOMP) -> None:
        self._minimum = minimum

    def make_keys(self, profile: Profile) -> tuple[bytes, SecretBytes]:
        """Draw a key pair: public key, secret key."""
        with self._child("he-keys", {"profile": profile.name}, 0) as child:
            public = _result(child, "public", _LARGEST_KEY)
            secret = _result(child, "secret", _LARGEST_KEY)
        require_public_key(profile, public)
        require_secret_key(profile, secret)
        return public, SecretBytes(secret)

    def encrypt(self, layout: Layout, key: bytes, values: Sequence[int]) -> bytes:
        """Encrypt one site's values under a public key (mode `seeded`: the secret key)."""
        numbers = written_numbers(layout, values)
        with self._child("he-encrypt", {"layout": layout.to_json()}, layout.upload_bytes + len(numbers)) as child:
            _give(child, "key", key)
            _give(child, "values", numbers)
            body = _result(child, "upload", layout.upload_bytes)
        require_upload(layout, body)
        return body

    def aggregate(self, layout: Layout, uploads: Sequence[bytes]) -> bytes:
        """Add uploads, without a key."""
        request = {"layout": layout.to_json(), "uploads": len(uploads)}
        with self._child("he-aggregate", request, 3 * layout.sum_bytes) as child:
            _give_uploads(child, layout, uploads)
            body = _result(child, "sum", layout.sum_bytes)
        require_sum(layout, body)
        return body

    def add(self, layout: Layout, uploads: Sequence[bytes], noise: Sequence[tuple[int, Fraction]] = ()) -> bytes:
        """Add uploads as the gateway does, with noise of its own if it is to add any, and flood the sum.

        Args:
            layout: Where the values lie.
            uploads: At least one.
            noise: How many numbers, side by side, get a discrete Gaussian of which variance, in steps.
        """
        parts = [[count, str(variance)] for count, variance in noise]
        request = {"layout": layout.to_json(), "uploads": len(uploads), "noise": parts}
        drawn = layout.ciphertexts * layout.profile.degree + sum(count for count, _ in noise)
        with self._child("he-add", request, 3 * layout.sum_bytes, more_seconds=drawn // _DRAWN_A_SECOND) as child:
            _give_uploads(child, layout, uploads)
            body = _result(child, "sum", layout.sum_bytes)
        require_sum(layout, body)
        return body

    def decrypt(self, layout: Layout, secret: SecretBytes, uploads: Sequence[bytes]) -> list[int]:
        """Add uploads and decrypt their sum, at least three; the sums as whole numbers."""
        request = {"layout": layout.to_json(), "uploads": len(uploads)}
        with self._child("he-decrypt", request, 4 * layout.sum_bytes) as child:
            _give(child, "key", secret.reveal())
            _give_uploads(child, layout, uploads)
            return read_numbers(layout, _result(child, "numbers", 16 * layout.values))

    def decrypt_sum(self, layout: Layout, secret: SecretBytes, total: bytes) -> list[int]:
        """Decrypt a sum that the gateway made: only where it is trusted to have added all uploads (RULES 34)."""
        require_sum(layout, total)
        with self._child("he-decrypt-sum", {"layout": layout.to_json()}, 4 * layout.sum_bytes) as child:
            _give(child, "key", secret.reveal())
            _give(child, "sum", total)
            return read_numbers(layout, _result(child, "numbers", 16 * layout.values))

    def infer(self, model: Scored, evaluation: bytes, features: bytes) -> bytes:
        """Evaluate a model on a client's encrypted rows; the answer is his alone to read."""
        given = (("model", model.to_bytes()),)
        return self._inferred(model.shape, given, evaluation, [features])[0]

    def infer_released(
        self, shape: Shape, graph: bytes, weights: bytes, evaluation: bytes, batches: Sequence[bytes]
    ) -> tuple[bytes, int]:
        """Evaluate a released model, whose file is read in the child.

        Args:
            shape: What the graph has.
            graph: The model's graph.
            weights: Its file.
            evaluation: The client's keys for products.
            batches: His ciphertexts.

        Returns:
            The answers, one after the other, and how often their scores were halved.
        """
        return self._inferred(shape, (("graph", graph), ("weights", weights)), evaluation, batches)

    def question(self, shape: Shape, batches: Sequence[Sequence[Sequence[float]]]) -> tuple[SecretBytes, bytes, bytes]:
        """Draw keys for one question and encrypt rows under them.

        Args:
            shape: The model's.
            batches: Rows, each time at most as many as there are slots.

        Returns:
            The secret key, the keys for products, and the ciphertexts of all batches.
        """
        request = {"batches": len(batches), "shape": shape.to_json()}
        held = 2 * shape.request_bytes + 64 * shape.key_bytes
        with self._child("he-ask", request, held) as child:
            secret = _result(child, "secret", _LARGEST_KEY)
            evaluation = _result(child, "keys", shape.key_bytes)
            made = []
            for rows in batches:
                _give(child, "rows", written_doubles(rows))
                made.append(_result(child, "features", shape.request_bytes))
        require_secret_key(shape.profile, secret)
        if shape.products:
            require_evaluation_keys(shape.profile, evaluation, (), products=True)
        for body in made:
            require_vectors(shape.profile, body, shape.features)
        return SecretBytes(secret), evaluation, b"".join(made)

    def scores(self, shape: Shape, secret: SecretBytes, answers: Sequence[bytes]) -> list[list[float]]:
        """Read answers with the key of their question: scores for every slot of every batch."""
        request = {"batches": len(answers), "shape": shape.to_json()}
        found: list[list[float]] = []
        with self._child("he-read", request, 4 * shape.answer_bytes) as child:
            _give(child, "key", secret.reveal())
            for body in answers:
                _give(child, "answer", body)
                numbers = _result(child, "scores", 8 * shape.outputs * shape.profile.slots)
                found += read_doubles(numbers, shape.outputs)
        return found

    def _inferred(
        self, shape: Shape, model: Sequence[tuple[str, bytes]], evaluation: bytes, batches: Sequence[bytes]
    ) -> tuple[bytes, int]:
        held = 2 * shape.request_bytes + 64 * len(evaluation) + shape.answer_bytes
        made, most = [], 0
        with self._child("he-infer", {"batches": len(batches)}, held * len(batches)) as child:
            for name, body in (*model, ("keys", evaluation)):
                _give(child, name, body)
            for features in batches:
                _give(child, "features", features)
                answer, halvings = _answer(child, shape.answer_bytes)
                made.append(answer)
                most = halvings
        return b"".join(made), most

    def blind_gradient(self, shape: BlindShape, keys: bytes, data: bytes, weights: bytes) -> bytes:
        """One epoch of a blind training, on ciphertexts alone: the gradient, which its owner alone can read."""
        form = shape.gradient_form
        held = 4 * (len(keys) + len(data)) + form.size
        with self._child("he-blind", {"features": shape.features, "rows": shape.rows}, held, len(keys)) as child:
            for name, body in (("keys", keys), ("data", data), ("weights", weights)):
                _give(child, name, body)
            gradient = _result(child, "gradient", form.size)
        if not form.matches(gradient):
            raise FailedTaskError(_FAILED)
        return gradient

    def _child(
        self, role: str, request: Mapping[str, Any], held: int, file: int = _LARGEST_KEY, more_seconds: int = 0
    ) -> Child:
        megabytes = held // MIB
        limits = Limits(
            memory_bytes=_MEMORY + 16 * held,
            cpu_seconds=60 + 2 * megabytes + more_seconds,
            wall_seconds=240 + 8 * megabytes + 4 * more_seconds,
            output_bytes=max(file, _LARGEST_KEY),
        )
        return spawn(role, limits=limits, request=request, minimum=self._minimum)


def _give_uploads(child: Child, layout: Layout, uploads: Sequence[bytes]) -> None:
    for body in uploads:
        # Judged here as well: what is plainly no upload costs no child its life.
        require_upload(layout, body)
    for body in uploads:
        _give(child, "upload", body)


def _give(child: Child, name: str, body: bytes) -> None:
    try:
        child.channel.send({"m": name}, body)
    except PrivgateError:
        raise _failed(child) from None


def _result(child: Child, name: str, longest: int) -> bytes:
    try:
        header, body = child.channel.receive(longest)
        (found,) = expect(header, "m")
    except PrivgateError:
        raise _failed(child) from None
    if found != name:
        raise _failed(child)
    return body


def _answer(child: Child, longest: int) -> tuple[bytes, int]:
    try:
        header, body = child.channel.receive(longest)
        halvings, name = expect(header, "halvings", "m")
        if name != "answer" or len(body) != longest:
            raise CorruptError("another frame than an answer")
        return body, whole(0, MOST_HALVINGS, halvings=halvings)
    except PrivgateError:
        raise _failed(child) from None


def _failed(child: Child) -> FailedTaskError:
    child.kill()
    child.wait()
    return FailedTaskError(_FAILED)
