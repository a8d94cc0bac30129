"""Data keys: fresh per object, split into subkeys by label, committed to before use.

Rules
-----
1. A DEK is 32 random bytes for one dataset version, upload, job or release. It never meets data itself: subkeys do.
2. One label, one use. Two labels never give the same subkey.
3. AES-GCM alone does not bind a ciphertext to one key, so a commitment to the DEK is stored and checked first.

Reference: RFC 5869 section 3.3 (Expand alone suffices for a uniform key); docs/formats/keyring.md.
"""

from __future__ import annotations

import hashlib
import hmac
from enum import StrEnum

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from kernel.errors import CorruptError, InvalidError
from kernel.events import Commitment
from kernel.ids import Entropy
from privacy.sealing.secret import SecretBytes

KEY_BYTES = 32
_COMMITMENT_TAG = b"privgate/dek-commitment/v1\x00"


class Label(StrEnum):
    """What a subkey is for."""

    PARQUET = "pme/v1"
    BLOB = "blob/v1"
    COMMIT = "commit/v1"
    UNIT = "unit/v1"


def new_dek(entropy: Entropy) -> SecretBytes:
    """Draw a data key."""
    return SecretBytes.random(KEY_BYTES, entropy)


def subkey(key: SecretBytes, label: Label) -> SecretBytes:
    """Derive the 32-byte subkey of a data key (for `Label.UNIT`: of a population's key)."""
    if len(key) != KEY_BYTES:
        raise InvalidError(f"a key has {KEY_BYTES} bytes", field="key")
    return SecretBytes(expand(key, b"privgate/subkey/" + label.value.encode("ascii")))


def commit(dek: SecretBytes) -> Commitment:
    """Return the public value that binds ciphertexts to this key and reveals nothing about it."""
    derived = subkey(dek, Label.COMMIT).reveal()
    return Commitment("sha256:" + hashlib.sha256(_COMMITMENT_TAG + derived).hexdigest())


def check_commitment(dek: SecretBytes, commitment: Commitment) -> None:
    """Return if `commitment` was made from this key; raise `CorruptError` otherwise."""
    if not hmac.compare_digest(commit(dek).encode("ascii"), commitment.encode("ascii")):
        raise CorruptError("the data key is not the one this object was sealed with")


def expand(key: SecretBytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-Expand with SHA-512 (RFC 5869 section 2.3); `key` must be uniformly random."""
    return HKDFExpand(algorithm=SHA512(), length=length, info=info).derive(key.reveal())
