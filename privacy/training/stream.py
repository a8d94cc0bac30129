"""Random numbers of a run: an AES-256 keystream under a fresh key from the operating system. Child only.

Rules
-----
1. A stream's key is 32 bytes of `entropy` (in production `os.urandom`), drawn when the stream is made, never stored,
   derived, passed on or repeated. Nothing can seed a stream, save it or wind it back: an attempt that resumes makes
   streams of its own.
2. A stream belongs to one process and cannot be copied. After a fork its copy raises, because both would go on with
   the same numbers.
3. No bit of the keystream is used twice: it only goes forward, and each number of a block is handed out once.
4. Gaussian numbers are Box and Muller's, in float64: 64 bits for the radius, so that tails reach 9.3 deviations and
   what is cut off has mass below 2^-62, and 64 bits for the angle, so that no direction is missing at any scale that
   the grid of `privacy.training.noise` can see.

What is proven, given that AES-256 in counter mode cannot be told from random: that all draws of all streams are
independent, and that a pair lies on the circle of its radius exactly but for rounding, since x = R (1 - q) and
y = R S sqrt(2 - q) with q = S^2 have (1 - q)^2 + q (2 - q) = 1 whatever S is. S = sqrt(2) sin(angle / 2) comes from a
polynomial that is off by at most 6e-15, which turns a pair by as little.

What is not proven: that these float64 numbers *are* the ideal Gaussian. The logarithm and the roots are rounded, by
some 2^-50 of a deviation; against what an attacker could read from low bits stands the grid, which removes them. A
snapshot of a running machine that is started twice repeats the keystream; no process can notice that by itself.

Reference: Box and Muller 1958; NIST SP 800-38A (counter mode); Devroye 1986, chapter V.4.
"""

from __future__ import annotations

import math
import os
from typing import Final, NoReturn, Protocol, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from kernel.checks import whole
from kernel.errors import CorruptError
from kernel.ids import Entropy

Floats: TypeAlias = NDArray[np.float64]
KEY_BYTES = 32
PAIRS = 16_384
"""Pairs made at once: few calls for many numbers, and everything of a block stays in a core's own cache."""

_WORD = 2.0**-63
_SIGN: Final = np.int64(-(2**63))
# sqrt(2) sin(x) = x (c0 + c1 x^2 + ...) on |x| <= pi/4, a least-squares fit at Chebyshev's points, highest first; x is
# a signed word times pi/4 2^-63, which is folded in so that a word need not be scaled.
_SINE: Final = tuple(
    coefficient * (math.pi / 4 * _WORD) ** power
    for power, coefficient in (
        (11, -3.5010787116321595e-08),
        (9, 3.896903552535995e-06),
        (7, -2.8059783633907926e-04),
        (5, 1.1785113006371183e-02),
        (3, -2.3570226039480655e-01),
        (1, 1.4142135623730894e00),
    )
)


class Gaussians(Protocol):
    """Whatever makes independent normal numbers of mean 0."""

    def gaussians(self, size: int, deviation: float = 1.0) -> Floats:
        """So many of that standard deviation, in an array that the caller may write to."""
        ...


class NoiseStream:
    """A source of random numbers for one attempt; for one thread.

    Args:
        entropy: Where the key comes from; nothing but tests passes another.

    Raises:
        CorruptError: `entropy` runs dry.
    """

    def __init__(self, entropy: Entropy = os.urandom) -> None:
        key = entropy(KEY_BYTES)
        if len(key) != KEY_BYTES:
            raise CorruptError("the source of random numbers ran dry")
        self._cipher = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._process = os.getpid()
        self._maker: _Maker | None = None
        self._spare, self._used = np.empty(2 * PAIRS), 2 * PAIRS

    def draw(self, count: int) -> bytes:
        """The next bytes of the keystream: what else takes an `Entropy` can take this."""
        self._require_own()
        return self._cipher.update(bytes(count))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Independent words of 64 bits."""
        return np.frombuffer(self.draw(8 * count), dtype=np.uint64)

    def gaussians(self, size: int, deviation: float = 1.0) -> Floats:
        """Independent normal numbers of that standard deviation, in an array that belongs to the caller."""
        whole(0, 2**40, size=size)
        return self.fill(np.empty(size), deviation)

    def fill(self, out: Floats, deviation: float = 1.0) -> Floats:
        """The same, into an array that the caller has."""
        self._require_own()
        size = len(out)
        filled = size // (2 * PAIRS) * (2 * PAIRS)
        for start in range(0, filled, 2 * PAIRS):
            self._block(out[start : start + 2 * PAIRS], deviation)
        self._hand_out(out[filled:], deviation)
        return out

    def _hand_out(self, out: Floats, deviation: float) -> None:
        """Numbers from the spare block, which are standard ones; those that are handed out are gone."""
        done = 0
        while done < len(out):
            if self._used == len(self._spare):
                self._block(self._spare, 1.0)
                self._used = 0
            count = min(len(out) - done, len(self._spare) - self._used)
            np.multiply(self._spare[self._used : self._used + count], deviation, out=out[done : done + count])
            done, self._used = done + count, self._used + count

    def _block(self, out: Floats, deviation: float) -> None:
        if self._maker is None:
            self._maker = _Maker()
        maker = self._maker
        self._cipher.update_into(maker.zeros, maker.bits)
        maker.make(out[:PAIRS], out[PAIRS:], deviation)

    def _require_own(self) -> None:
        if os.getpid() != self._process:
            raise CorruptError("a stream of random numbers belongs to the process that made it")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream of random numbers cannot be copied or stored")


class OnePlace:
    """A stream whose numbers always lie in the same memory: what it gave before is overwritten.

    Fresh memory costs as much as the numbers, since the system hands it over page by page.

    Args:
        stream: Where they come from.
        size: How many there are at most.
    """

    def __init__(self, stream: NoiseStream, size: int) -> None:
        self._stream, self._numbers = stream, np.empty(size)

    def gaussians(self, size: int, deviation: float = 1.0) -> Floats:
        """So many of that standard deviation, good until the next call."""
        if size > len(self._numbers):
            raise ValueError("more numbers than there is room for")
        return self._stream.fill(self._numbers[:size], deviation)


class _Maker:
    """Turns a block of bits into pairs, in memory that it keeps."""

    def __init__(self) -> None:
        self.zeros, self.bits = bytes(16 * PAIRS), bytearray(16 * PAIRS + 15)
        self._radii = np.frombuffer(self.bits, dtype=np.int64, count=PAIRS)
        self._angles = np.frombuffer(self.bits, dtype=np.int64, count=PAIRS, offset=8 * PAIRS)
        self._scratch = np.empty((4, PAIRS))

    def make(self, x: Floats, y: Floats, deviation: float) -> None:
        """Fill both with one number of each pair; the bits are used up."""
        radius, sine, square, rest = self._scratch
        self._radius(radius, deviation)
        self._sine(sine, square, rest)
        np.multiply(sine, sine, out=square)
        np.subtract(1.0, square, out=rest)
        np.multiply(rest, radius, out=x)
        np.subtract(2.0, square, out=square)
        np.sqrt(square, out=square)
        np.multiply(sine, square, out=sine)
        np.multiply(sine, radius, out=y)
        # x is not negative so far, since angles are within a quarter turn: the radius' word has its sign to spare.
        np.bitwise_and(self._radii, _SIGN, out=self._radii)
        signed = x.view(np.int64)
        np.bitwise_xor(signed, self._radii, out=signed)

    def _radius(self, out: Floats, deviation: float) -> None:
        """Deviation sqrt(-2 ln u); u is the size of an odd word, never 0 and at most 1."""
        np.bitwise_or(self._radii, 1, out=self._radii)
        np.copyto(out, self._radii)
        np.multiply(out, _WORD, out=out)
        np.abs(out, out=out)
        np.log(out, out=out)
        np.multiply(out, -2.0 * deviation**2, out=out)
        np.sqrt(out, out=out)

    def _sine(self, out: Floats, square: Floats, sum_: Floats) -> None:
        """sqrt(2) sin(angle / 2), the angle uniform within a quarter turn to either side."""
        np.copyto(out, self._angles)
        np.multiply(out, out, out=square)
        np.multiply(square, _SINE[0], out=sum_)
        for coefficient in _SINE[1:-1]:
            np.add(sum_, coefficient, out=sum_)
            np.multiply(sum_, square, out=sum_)
        np.add(sum_, _SINE[-1], out=sum_)
        np.multiply(out, sum_, out=out)
