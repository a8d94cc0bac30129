"""Bytes sealed to a party: hybrid public-key encryption in base mode, bound to what they are for.

Rules
-----
1. X25519, HKDF-SHA256, AES-256-GCM; one ephemeral key for each call. There is no other suite to choose.
2. The context is part of the key: what was sealed for one job, round and party opens for no other.
3. Sealing says nothing of who sealed: signatures do that, over the sealed bytes.

Reference: RFC 9180, modes of section 5.1.1; docs/formats/he-upload.md, "Sealed".
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kernel.canonical import JsonObject, digest_of
from kernel.errors import CorruptError
from kernel.ids import Entropy
from privacy.homomorphic.documents.parties import SealingKey
from privacy.sealing.secret import SecretBytes

OVERHEAD = 32 + 16
"""The ephemeral key before, and the tag after, what is sealed."""
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def new_sealing_key(entropy: Entropy) -> SecretBytes:
    """Draw a party's private key for what is sealed to it."""
    return SecretBytes.random(32, entropy)


def sealing_key_of(private: SecretBytes) -> SealingKey:
    """The public half."""
    key = X25519PrivateKey.from_private_bytes(private.reveal()).public_key()
    return SealingKey(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def seal_to(key: SealingKey, context: JsonObject, data: bytes) -> bytes:
    """Seal `data` to a party.

    Args:
        key: The party's.
        context: What it is for; opening needs the same.
        data: Any bytes.
    """
    return _SUITE.encrypt(data, X25519PublicKey.from_public_bytes(key.raw), info=_info(context))


def open_sealed(private: SecretBytes, context: JsonObject, sealed: bytes) -> bytes:
    """Open what was sealed to this party for this; raise `CorruptError` otherwise."""
    if len(sealed) < OVERHEAD:
        raise _closed()
    try:
        own: Any = X25519PrivateKey.from_private_bytes(private.reveal())
        return _SUITE.decrypt(sealed, own, info=_info(context))
    except (InvalidTag, ValueError):
        raise _closed() from None


def _info(context: JsonObject) -> bytes:
    return digest_of("he-sealed/v1", context).raw


def _closed() -> CorruptError:
    return CorruptError("sealed bytes do not open with this key for this purpose")
