"""Sums of ciphertexts, without any key.

Rules
-----
1. Each body passes `validator` before SEAL reads a byte of it; all of a body loads, or none of it is added.
2. No more are added than the layout allows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import tenseal.sealapi as seal

from kernel.errors import InvalidError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import Slots
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.raw import load_all, save
from privacy.homomorphic.validator import pieces, require_sum, require_upload, upload_forms


class Sum:
    """A running sum of uploads under one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._contexts = [context(layout.profile, instance) for instance in range(layout.profile.instances)]
        self._evaluators = [seal.Evaluator(place) for place in self._contexts]
        self._ciphertexts: list[Any] = []
        self.summands = 0

    def add(self, body: bytes) -> None:
        """Add one upload.

        Raises:
            CorruptError: It is none of this layout; the sum is as before.
            InvalidError: The sum has as many uploads as the layout allows.
        """
        if self.summands == self._layout.summands:
            raise InvalidError("as many uploads were added as the layout allows", field="summands")
        require_upload(self._layout, body)
        self._join(self._loaded(body, fresh=True))
        self.summands += 1

    def add_slots(self, slots: Slots) -> None:
        """Add numbers in the clear, such as the gateway's noise: no summand, the layout's tail allows for them."""
        for index, row in enumerate(slots):
            plain = seal.Plaintext()
            instance = index % len(self._contexts)
            seal.BatchEncoder(self._contexts[instance]).encode(row, plain)
            self._evaluators[instance].add_plain_inplace(self._ciphertexts[index], plain)

    def ciphertexts(self) -> list[Any]:
        """SEAL's objects, for the decryptor beside."""
        if not self.summands:
            raise InvalidError("nothing was added", field="summands")
        return self._ciphertexts

    def body(self) -> bytes:
        """The sum as bytes."""
        forms = upload_forms(self._layout, fresh=False)
        return b"".join(save(one, form) for one, form in zip(self.ciphertexts(), forms, strict=True))

    @classmethod
    def of_body(cls, layout: Layout, body: bytes) -> Sum:
        """Read a sum that somebody else made: only where whoever adds is trusted to be honest (RULES 34)."""
        require_sum(layout, body)
        made = cls(layout)
        made._ciphertexts = made._loaded(body, fresh=False)
        made.summands = layout.summands
        return made

    def _loaded(self, body: bytes, *, fresh: bool) -> list[Any]:
        forms = upload_forms(self._layout, fresh=fresh)
        pairs = zip(itertools.cycle(self._contexts), (piece for _, piece in pieces(forms, body)))
        return load_all(seal.Ciphertext, pairs)

    def _join(self, others: list[Any]) -> None:
        if not self._ciphertexts:
            self._ciphertexts = others
            return
        for index, (own, other) in enumerate(zip(self._ciphertexts, others, strict=True)):
            self._evaluators[index % len(self._evaluators)].add_inplace(own, other)


def aggregate(layout: Layout, bodies: Iterable[bytes]) -> bytes:
    """The sum of uploads, as bytes."""
    total = Sum(layout)
    for body in bodies:
        total.add(body)
    return total.body()
