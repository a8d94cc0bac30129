"""A sum to the numbers in it. Only sums: there is no door for a single upload.

Rules
-----
1. A layout's sum is decrypted when all of its summands are in, or as many as were declared to be enough.
2. Only BFV: it is exact, so that what a decryption shows is the sum and nothing of the key. CKKS decryptions show their
   error, and stay with whoever holds the key (`approximate`).
"""

from __future__ import annotations

import tenseal.sealapi as seal

from kernel.errors import InvalidError
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.packing import Slots
from privacy.homomorphic.tenseal_backend.aggregate import Sum
from privacy.homomorphic.tenseal_backend.contexts import context
from privacy.homomorphic.tenseal_backend.raw import load
from privacy.homomorphic.validator import pieces, require_secret_key
from privacy.homomorphic.wire import secret_key_form
from privacy.sealing.secret import SecretBytes

LEAST_SUMMANDS = 3
"""A sum of two tells each of the two what the other's is (RULES 39)."""


def decrypt(layout: Layout, secret: SecretBytes, total: Sum) -> Slots:
    """Decrypt a sum.

    Args:
        layout: Profile and lengths.
        secret: The secret key.
        total: At least three uploads.

    Raises:
        InvalidError: Fewer uploads.
        CorruptError: The key is none of this profile.
    """
    if total.summands < LEAST_SUMMANDS:
        raise InvalidError(f"a sum of fewer than {LEAST_SUMMANDS} uploads is not decrypted", field="summands")
    profile, key = layout.profile, secret.reveal()
    require_secret_key(profile, key)
    forms = [secret_key_form(profile, instance) for instance in range(profile.instances)]
    decryptors, encoders = [], []
    for instance, (_, piece) in enumerate(pieces(forms, key)):
        place = context(profile, instance)
        decryptors.append(seal.Decryptor(place, load(seal.SecretKey(), place, piece)))
        encoders.append(seal.BatchEncoder(place))
    slots: Slots = []
    for index, ciphertext in enumerate(total.ciphertexts()):
        plain = seal.Plaintext()
        decryptors[index % len(decryptors)].decrypt(ciphertext, plain)
        slots.append(encoders[index % len(encoders)].decode_uint64(plain))
    return slots
