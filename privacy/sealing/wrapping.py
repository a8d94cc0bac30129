"""Wrapped data keys, what they are bound to, and the five verbs of whatever wraps them.

Rules
-----
1. A wrapped key opens only for the context it was wrapped for: key id, purpose, tenant, and what it protects.
2. A `KeyProvider` never gives out the key that wraps; callers hold DEKs, briefly, and nothing else.
3. Old versions unwrap until they fall below the floor or are destroyed; only the current one wraps.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from kernel import canonical
from kernel.canonical import Digest, digest_of
from kernel.checks import size, text, whole
from kernel.errors import CorruptError, InvalidError
from kernel.ids import DatasetId, DekId, JobId, ReleaseId, TenantId, VersionId
from kernel.signing import unbase64
from privacy.events.sealing import KeyPurpose
from privacy.sealing.secret import SecretBytes

NONCE_BYTES = 12
WRAPPED_LIMIT = 4096
MOST_VERSIONS = 100_000
_BOUND_TO = {
    KeyPurpose.UPLOAD: ("dataset", "version"),
    KeyPurpose.VERSION: ("dataset", "version"),
    KeyPurpose.JOB: ("job",),
    KeyPurpose.RELEASE: ("release",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyContext:
    """What a data key belongs to; the associated data of its wrapping."""

    tenant: TenantId
    dek: DekId
    purpose: KeyPurpose
    dataset: DatasetId | None = None
    version: VersionId | None = None
    job: JobId | None = None
    release: ReleaseId | None = None

    def __post_init__(self) -> None:
        named = [name for name in ("dataset", "version", "job", "release") if getattr(self, name) is not None]
        if tuple(named) != _BOUND_TO[self.purpose]:
            needed = " and ".join(f"`{name}`" for name in _BOUND_TO[self.purpose])
            raise InvalidError(f"a key for `{self.purpose.value}` names {needed} and nothing else", field="context")

    def to_json(self) -> dict[str, Any]:
        """Encode for storage; absent members are left out."""
        body: dict[str, Any] = {"dek": self.dek, "purpose": self.purpose.value, "tenant": self.tenant}
        return body | {name: getattr(self, name) for name in _BOUND_TO[self.purpose]}

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> KeyContext:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        kinds: dict[str, Any] = {
            "tenant": TenantId, "dek": DekId, "purpose": KeyPurpose, "dataset": DatasetId,
            "version": VersionId, "job": JobId, "release": ReleaseId,
        }  # fmt: skip
        try:
            return cls(**{name: kinds[name](value) for name, value in body.items()})
        except (KeyError, ValueError, TypeError, AttributeError):
            raise InvalidError("not the context of a key", field="context") from None

    @property
    def aad(self) -> bytes:
        """The associated data: canonical JSON."""
        return canonical.encode(self.to_json())

    @property
    def digest(self) -> Digest:
        """What the wrapped form repeats, to tell a mix-up from damage."""
        return digest_of("key-context/v1", self.to_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class WrappedKey:
    """A data key under one version of a tenant's KEK.

    Attributes:
        alg: Which provider and cipher, for example `local-a256gcm`.
        kek_version: Version of the KEK that wrapped it.
        nonce: 12 bytes, or what the provider uses instead.
        ciphertext: Encrypted key and tag.
        context: Digest of the context it was wrapped for.
    """

    alg: str
    kek_version: int
    nonce: bytes
    ciphertext: bytes
    context: Digest

    def __post_init__(self) -> None:
        text(40, alg=self.alg)
        whole(1, MOST_VERSIONS, kek_version=self.kek_version)
        size(NONCE_BYTES, nonce=self.nonce)
        whole(1, 1024, ciphertext=len(self.ciphertext))

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical.encode(
            {
                "alg": self.alg,
                "context": self.context,
                "ct": base64.b64encode(self.ciphertext).decode("ascii"),
                "kek_version": self.kek_version,
                "nonce": base64.b64encode(self.nonce).decode("ascii"),
                "v": 1,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> WrappedKey:
        """Read what `to_bytes` writes; raise `CorruptError` otherwise."""
        try:
            body = _strict(canonical.decode(data, limit=WRAPPED_LIMIT, canonical=True))
            return cls(
                alg=body["alg"],
                kek_version=body["kek_version"],
                nonce=unbase64(body["nonce"], "nonce"),
                ciphertext=unbase64(body["ct"], "ct"),
                context=Digest(body["context"]),
            )
        except (InvalidError, TypeError, KeyError):
            raise CorruptError("a wrapped key is not in its stored form") from None

    def check_context(self, context: KeyContext) -> None:
        """Return if this was wrapped for `context`; raise `CorruptError` otherwise."""
        if self.context != context.digest:
            raise CorruptError("this wrapped key belongs to something else")


def _strict(body: dict[str, Any]) -> dict[str, Any]:
    if set(body) != {"alg", "context", "ct", "kek_version", "nonce", "v"} or body["v"] != 1:
        raise InvalidError("unknown members or version")
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class KekVersion:
    """One version of a tenant's KEK."""

    number: int
    created_at: datetime
    destroyed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KekVersions:
    """What a provider knows about a tenant's KEK: which version wraps, which still unwrap."""

    current: int
    floor: int
    versions: tuple[KekVersion, ...]


class KeyProvider(Protocol):
    """Whatever holds the KEKs: the local keyring, later a key management service."""

    def wrap(self, tenant: TenantId, context: KeyContext, dek: SecretBytes) -> WrappedKey:
        """Wrap a data key under the tenant's current version."""
        ...

    def unwrap(self, tenant: TenantId, context: KeyContext, wrapped: WrappedKey) -> SecretBytes:
        """Open a wrapped key.

        Raises:
            CorruptError: Altered, or wrapped for another context.
            ConflictError: Its version lies below the floor.
            NotFoundError: Its version was destroyed or never existed.
        """
        ...

    def rewrap(self, tenant: TenantId, context: KeyContext, wrapped: WrappedKey) -> WrappedKey:
        """Wrap the same data key under the current version; the same refusals as `unwrap`."""
        ...

    def describe(self, tenant: TenantId) -> KekVersions:
        """List the tenant's versions; raise `NotFoundError` if it has none."""
        ...

    def destroy(self, tenant: TenantId, version: int) -> None:
        """Destroy a version that is not the current one: whatever only it wrapped is lost for good."""
        ...
