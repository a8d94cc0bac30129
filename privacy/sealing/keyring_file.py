"""The keyring's file: how it is unlocked, checked and written.

Rules
-----
1. The cost of the passphrase derivation is stored and bounded on reading: neither a weak nor an exhausting one is
   taken from a file.
2. Everything in the file, unlocking parameters included, is under one MAC; a file that fails it is not used at all.
3. A value is wrapped for its place (kind, name, tenant, version) and opens nowhere else.

Format: docs/formats/keyring.md.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kernel import canonical
from kernel.checks import whole
from kernel.errors import CorruptError, InvalidError, PrivgateError
from kernel.ids import Entropy
from kernel.signing import unbase64
from privacy.sealing.deks import KEY_BYTES, expand
from privacy.sealing.secret import SecretBytes
from privacy.sealing.wrapping import NONCE_BYTES

FILE_LIMIT = 64 * 2**20
SALT_BYTES = 16
_CANARY = b"privgate/canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseCost:
    """Cost of Argon2id (RFC 9106): memory in KiB, passes, lanes."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        whole(19 * 1024, 2**20, memory_kib=self.memory_kib)
        whole(2, 16, iterations=self.iterations)
        whole(1, 16, lanes=self.lanes)

    def to_json(self) -> dict[str, int]:
        """Encode for the file."""
        return {"iterations": self.iterations, "lanes": self.lanes, "memory_kib": self.memory_kib}


@dataclass(frozen=True, slots=True)
class Passphrase:
    """Unlocks with something a person or a secret store knows."""

    value: SecretBytes
    cost: PassphraseCost = PassphraseCost()


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Unlocks with the 32 bytes of a key file."""

    value: SecretBytes


Unlock = Passphrase | KeyFile


class Root:
    """The root key while the keyring is open: wraps, unwraps and authenticates."""

    def __init__(self, root: SecretBytes) -> None:
        self._aead = AESGCM(expand(root, b"privgate/keyring/v1/wrap"))
        self._mac_key = SecretBytes(expand(root, b"privgate/keyring/v1/mac"))

    def wrap(self, value: bytes, place: Mapping[str, Any], entropy: Entropy) -> str:
        """Encrypt a value for its place, in base64."""
        return _wrap(self._aead, value, place, entropy)

    def unwrap(self, written: str, place: Mapping[str, Any]) -> SecretBytes:
        """Decrypt what `wrap` wrote for the same place; raise `CorruptError` otherwise."""
        return _unwrap(self._aead, written, place)

    def mac(self, body: Mapping[str, Any], lock: Mapping[str, Any]) -> str:
        """Authenticate the whole file."""
        covered = canonical.encode({"body": body, "lock": lock, "v": 1})
        return hmac.new(self._mac_key.reveal(), covered, hashlib.sha256).hexdigest()

    def canary(self, entropy: Entropy) -> str:
        """Wrap the known value that every opening tries."""
        return self.wrap(_CANARY, {"kind": "canary"}, entropy)

    def check(self, document: Mapping[str, Any]) -> None:
        """Return if the document is authentic and its canary opens; raise `CorruptError` otherwise."""
        expected = self.mac(document["body"], document["lock"])
        if not hmac.compare_digest(expected.encode(), document["mac"].encode()):
            raise CorruptError("the keyring was altered: restore it from its backup")
        if self.unwrap(document["body"]["canary"], {"kind": "canary"}) != SecretBytes(_CANARY):
            raise CorruptError("the keyring's self-check failed: restore it from its backup")


def lock_root(root: SecretBytes, unlock: Unlock, entropy: Entropy) -> dict[str, Any]:
    """Wrap the root under the unlock key; return the file's `lock` member."""
    salt = entropy(SALT_BYTES)
    lock: dict[str, Any] = {"kind": "key-file", "salt": base64.b64encode(salt).decode("ascii")}
    cost = None
    if isinstance(unlock, Passphrase):
        cost = unlock.cost
        lock |= {"kind": "passphrase", "argon2id": cost.to_json()}
    aead = AESGCM(_unlock_key(unlock, salt, cost))
    return lock | {"wrapped_root": _wrap(aead, root.reveal(), {"kind": "root"}, entropy)}


def unlock_root(lock: Mapping[str, Any], unlock: Unlock) -> SecretBytes:
    """Open the root.

    Raises:
        InvalidError: The passphrase or key file is of the other kind, or not this keyring's.
    """
    if (lock["kind"] == "passphrase") != isinstance(unlock, Passphrase):
        raise InvalidError(f"this keyring is opened with a {lock['kind']}: set that one", field="keyring")
    cost = PassphraseCost(**lock["argon2id"]) if lock["kind"] == "passphrase" else None
    aead = AESGCM(_unlock_key(unlock, unbase64(lock["salt"], "salt"), cost))
    try:
        return _unwrap(aead, lock["wrapped_root"], {"kind": "root"})
    except CorruptError:
        raise InvalidError("the passphrase or key file does not open this keyring", field="keyring") from None


def write_document(root: Root, body: Mapping[str, Any], lock: Mapping[str, Any]) -> bytes:
    """Encode the whole file."""
    return canonical.encode({"body": body, "lock": lock, "mac": root.mac(body, lock), "v": 1})


def read_document(data: bytes) -> dict[str, Any]:
    """Read the file's form, before any key is known; raise `CorruptError` if it is not ours."""
    try:
        document = canonical.decode(data, limit=FILE_LIMIT, canonical=True)
        _check_shape(document)
    except (PrivgateError, KeyError, TypeError, AttributeError):
        raise CorruptError("the keyring file is damaged or of another version: restore it from its backup") from None
    return dict(document)


def _check_shape(document: dict[str, Any]) -> None:
    lock, body = document["lock"], document["body"]
    expected = {"kind", "salt", "wrapped_root"} | ({"argon2id"} if lock["kind"] == "passphrase" else set())
    fits = (
        set(document) == {"body", "lock", "mac", "v"}
        and document["v"] == 1
        and isinstance(document["mac"], str)
        and lock["kind"] in ("passphrase", "key-file")
        and set(lock) == expected
        and set(body) == {"canary", "generation", "secrets", "tenants"}
    )
    if not fits:
        raise InvalidError("unknown members")
    if "argon2id" in lock:
        PassphraseCost(**lock["argon2id"])
    whole(1, canonical.LARGEST_INTEGER, generation=body["generation"])


def _unlock_key(unlock: Unlock, salt: bytes, cost: PassphraseCost | None) -> bytes:
    if cost is None:
        info = b"privgate/keyring/v1/key-file"
        return HKDF(algorithm=SHA512(), length=KEY_BYTES, salt=salt, info=info).derive(unlock.value.reveal())
    derivation = Argon2id(
        salt=salt, length=KEY_BYTES, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
    )
    return derivation.derive(unlock.value.reveal())


def _wrap(aead: AESGCM, value: bytes, place: Mapping[str, Any], entropy: Entropy) -> str:
    nonce = entropy(NONCE_BYTES)
    sealed = nonce + aead.encrypt(nonce, value, canonical.encode({**place, "v": 1}))
    return base64.b64encode(sealed).decode("ascii")


def _unwrap(aead: AESGCM, written: str, place: Mapping[str, Any]) -> SecretBytes:
    try:
        sealed = unbase64(written, "wrapped")
        return SecretBytes(
            aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], canonical.encode({**place, "v": 1}))
        )
    except (InvalidTag, InvalidError, ValueError):
        raise CorruptError("a stored key does not open: altered, moved, or under another root") from None
