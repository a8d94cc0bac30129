"""Errors on top of those of a sum, so that they tell nothing of the summands: `privacy.homomorphic.flooding` says why.

The first polynomial of each ciphertext gets a discrete Gaussian in every coefficient, modulo each prime: SEAL keeps BFV
ciphertexts as plain coefficients, prime after prime, in words of eight bytes.
"""

from __future__ import annotations

import os
from fractions import Fraction

import numpy as np

from kernel.errors import InvalidError
from kernel.ids import Entropy
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.profiles import flooding
from privacy.homomorphic.validator import pieces, require_sum, upload_forms


def flooded(layout: Layout, body: bytes, entropy: Entropy = os.urandom) -> bytes:
    """The same sum with a fresh flood.

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
    source, found = ExactSource(entropy), bytearray(body)
    primes = np.array(profile.data_primes, dtype=np.int64)[:, None]
    place = 0
    for form, piece in pieces(upload_forms(layout, fresh=False), body):
        start = place + len(form.prefix)
        words = np.frombuffer(found, dtype="<i8", count=profile.degree * len(primes), offset=start)
        drawn = np.fromiter(source.gaussians(profile.degree, variance), dtype=np.int64, count=profile.degree)
        first = words.reshape(len(primes), profile.degree)
        first[:] = (first + drawn) % primes
        place += len(piece)
    return bytes(found)
