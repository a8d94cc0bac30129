"""Errors on top of those of a sum or an upload, which hide how it came about: `privacy.homomorphic.flooding` says why.

The first polynomial of each ciphertext gets them in every coefficient, modulo each prime: SEAL keeps BFV ciphertexts as
plain coefficients, prime after prime, in words of eight bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from kernel.errors import InvalidError
from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.profiles import flooding, veil
from privacy.homomorphic.validator import pieces, require_sum, require_upload, upload_forms

Errors = NDArray[np.int64]


def flooded(layout: Layout, body: bytes, entropy: Entropy = os.urandom) -> bytes:
    """The same sum with a fresh flood: a discrete Gaussian in each coefficient.

    Args:
        layout: Its profile and lengths.
        body: The ciphertexts of a sum.
        entropy: Where random bytes come from; the operating system, in production.

    Raises:
        InvalidError: The profile has no room for any.
        CorruptError: This is no sum of the layout.
    """
    require_sum(layout, body)
    profile = layout.profile
    variance = Fraction(flooding(profile)) ** 2
    if not variance:
        raise InvalidError(f"profile `{profile.name}` has no room for errors of the gateway's", field="profile")
    source, count = ExactSource(entropy), profile.degree
    return _with_errors(
        layout, body, lambda: np.fromiter(source.gaussians(count, variance), dtype=np.int64, count=count), fresh=False
    )


def veiled(layout: Layout, body: bytes, entropy: Entropy = os.urandom) -> bytes:
    """The same upload with uniform errors that its site alone knows; as it is, where the profile has no room for them.

    Args:
        layout: Its profile and lengths.
        body: The ciphertexts of an upload.
        entropy: Where random bytes come from; the operating system, in production.

    Raises:
        CorruptError: This is no upload of the layout.
    """
    width, count = veil(layout.profile), layout.profile.degree
    if not width:
        return body
    require_upload(layout, body)

    def drawn() -> Errors:
        words: Errors = np.frombuffer(entropy(4 * count), dtype="<u4").astype(np.int64)
        return (words & (2 * width - 1)) - width

    return _with_errors(layout, body, drawn, fresh=True)


def _with_errors(layout: Layout, body: bytes, drawn: Callable[[], Errors], *, fresh: bool) -> bytes:
    degree, found, place = layout.profile.degree, bytearray(body), 0
    primes = np.array(layout.profile.data_primes, dtype=np.int64)[:, None]
    for form, piece in pieces(upload_forms(layout, fresh=fresh), body):
        start = place + len(form.prefix)
        words = np.frombuffer(found, dtype="<i8", count=degree * len(primes), offset=start)
        first = words.reshape(len(primes), degree)
        first[:] = (first + drawn()) % primes
        place += len(piece)
    return bytes(found)
