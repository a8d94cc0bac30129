"""A key in memory: hard to print, to copy by accident or to keep too long.

Rules
-----
1. It shows itself as `***` and cannot be pickled, copied or hashed.
2. It is compared in constant time.
3. `wipe` overwrites it. Python cannot promise more: the bytes that `reveal` returns live until they are collected, so
   reveal at the last moment and keep no name for the result.
"""

from __future__ import annotations

import hmac
from types import TracebackType
from typing import NoReturn, Self

from kernel.errors import InvalidError
from kernel.ids import Entropy


class SecretBytes:
    """A byte string that must not leak. Usable as a context manager that wipes it on the way out."""

    __slots__ = ("_value", "_wiped")

    def __init__(self, value: bytes | bytearray | memoryview) -> None:
        self._value = bytearray(memoryview(value))
        if not self._value:
            raise InvalidError("a secret has at least one byte", field="secret")
        self._wiped = False

    @classmethod
    def random(cls, length: int, entropy: Entropy) -> Self:
        """Draw `length` fresh bytes."""
        value = entropy(length)
        if len(value) != length:
            raise InvalidError("the source of randomness gave another length than asked for", field="entropy")
        return cls(value)

    def reveal(self) -> bytes:
        """Return a copy of the bytes; raise `InvalidError` if they were wiped."""
        if self._wiped:
            raise InvalidError("this secret was wiped", field="secret")
        return bytes(self._value)

    def wipe(self) -> None:
        """Overwrite the bytes with zeros; harmless when repeated."""
        for index in range(len(self._value)):
            self._value[index] = 0
        self._wiped = True

    @property
    def wiped(self) -> bool:
        """Whether `wipe` was called."""
        return self._wiped

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return not self._wiped and not other._wiped and hmac.compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "***"

    def __format__(self, _: str) -> str:
        return "***"

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise TypeError("a secret is never serialised or copied")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()
