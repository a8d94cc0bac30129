"""Ed25519 keys and the one signed envelope (DSSE).

Rules
-----
1. Every signature covers its payload type (DSSE pre-authentication encoding), so that a signature over one kind of
   statement is never valid for another.
2. Verification returns the payload or raises; there is no boolean to forget.
3. Which key may sign what is the caller's knowledge: `open_envelope` takes the keys that are trusted for that purpose.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from kernel import canonical
from kernel.canonical import Digest
from kernel.checks import size, text
from kernel.errors import CorruptError, InvalidError
from kernel.ids import Entropy

ENVELOPE_LIMIT = 16 * 2**20


class Signer(Protocol):
    """Something that holds a private key and signs with it."""

    @property
    def public_key(self) -> PublicKey:
        """The key that others verify with."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message` (RFC 8032)."""
        ...


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A raw Ed25519 public key (32 bytes)."""

    raw: bytes

    def __post_init__(self) -> None:
        size(32, public_key=self.raw)

    @property
    def key_id(self) -> str:
        """The SHA-256 of the raw key, in hexadecimal."""
        return Digest.of(self.raw).hex

    def verify(self, signature: bytes, message: bytes) -> None:
        """Return if `signature` is this key's over `message`; raise `CorruptError` otherwise."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise CorruptError("the signature does not match the content and the key") from None

    def written(self) -> str:
        """The raw key in base64, as trust files hold it."""
        return base64.b64encode(self.raw).decode("ascii")

    @classmethod
    def parse(cls, written: str) -> PublicKey:
        """Read what `written` writes."""
        return cls(unbase64(written, "public_key"))


class Ed25519Signer:
    """A private key in memory. Never printed, never pickled."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(size(32, seed=seed))

    @classmethod
    def generate(cls, entropy: Entropy) -> Ed25519Signer:
        """Make a key from 32 fresh random bytes."""
        return cls(entropy(32))

    @property
    def public_key(self) -> PublicKey:
        """The key that others verify with."""
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return PublicKey(raw)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of `message`."""
        return self._key.sign(message)

    def __repr__(self) -> str:
        return f"Ed25519Signer({self.public_key.key_id[:12]})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is never serialised")


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature of an envelope."""

    key_id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Envelope:
    """A payload with its type and its signatures, as DSSE writes it.

    Reference: DSSE 1.0 (secure-systems-lab/dsse), envelope and protocol.
    """

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        text(200, payload_type=self.payload_type)
        if not self.signatures:
            raise InvalidError("an envelope needs at least one signature", field="signatures")

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical.encode(
            {
                "payload": base64.b64encode(self.payload).decode("ascii"),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": s.key_id, "sig": base64.b64encode(s.value).decode("ascii")} for s in self.signatures
                ],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Read an envelope strictly; raise `InvalidError` or `TooLargeError`."""
        body = canonical.decode(data, limit=ENVELOPE_LIMIT)
        try:
            signatures = tuple(Signature(s["keyid"], unbase64(s["sig"], "sig")) for s in body["signatures"])
            return cls(body["payloadType"], unbase64(body["payload"], "payload"), signatures)
        except (KeyError, TypeError):
            raise InvalidError("not a DSSE envelope: needs payload, payloadType and signatures") from None


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's PAE of type and payload."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign_envelope(payload_type: str, payload: bytes, *signers: Signer) -> Envelope:
    """Sign `payload` under its type with each signer."""
    message = pre_authentication(payload_type, payload)
    return Envelope(payload_type, payload, tuple(Signature(s.public_key.key_id, s.sign(message)) for s in signers))


def open_envelope(envelope: Envelope, payload_type: str, trusted: Iterable[PublicKey]) -> bytes:
    """Return the payload if a trusted key signed it as `payload_type`.

    Raises:
        CorruptError: Another type, no signature by a trusted key, or a trusted key's signature that does not match.
    """
    if envelope.payload_type != payload_type:
        raise CorruptError("the envelope holds another kind of statement")
    message = pre_authentication(payload_type, envelope.payload)
    keys = {key.key_id: key for key in trusted}
    for signature in envelope.signatures:
        if signature.key_id in keys:
            keys[signature.key_id].verify(signature.value, message)
            return envelope.payload
    raise CorruptError("no trusted key signed this statement")


def unbase64(value: str, field: str) -> bytes:
    """Decode standard base64 with padding, strictly."""
    try:
        data = base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, AttributeError):
        raise InvalidError(f"`{field}` must be standard base64", field=field) from None
    if base64.b64encode(data).decode("ascii") != value:
        raise InvalidError(f"`{field}` is base64 with stray bits", field=field)
    return data
