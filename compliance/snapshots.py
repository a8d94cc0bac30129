"""Documents of live facts that an `evidence:snapshot` entry names by digest. Format: `docs/formats/report.md`.

Rules
-----
1. A live fact counts from the entry that holds its document's digest, and as of that entry.
2. A document holds identifiers, numbers, enums and times; no key, wrapped or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import InvalidError, PrivgateError
from kernel.ids import DekId, TenantId
from privacy.events.sealing import KeyPurpose

KEYS_FORMAT = "privgate/evidence/keys/v1"
LIMIT = 64 * 2**20


@dataclass(frozen=True, slots=True, order=True)
class LiveKey:
    """One data key as the gateway's table has it.

    Attributes:
        kek_version: Which version of the tenant's key wraps it; 0 once it is destroyed.
    """

    dek: DekId
    purpose: KeyPurpose
    kek_version: int

    @property
    def alive(self) -> bool:
        """Whether there is a wrapped copy."""
        return self.kek_version > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTable:
    """All data keys of a tenant, and the versions of its wrapping key.

    Attributes:
        current: The version that wraps new keys.
        destroyed: Versions that are gone.
    """

    tenant: TenantId
    current: int
    destroyed: tuple[int, ...]
    keys: tuple[LiveKey, ...]

    def to_bytes(self) -> bytes:
        """Write the document."""
        return canonical.encode(
            {
                "current": self.current,
                "destroyed": list(self.destroyed),
                "format": KEYS_FORMAT,
                "keys": [
                    {"dek": key.dek, "kek_version": key.kek_version, "purpose": key.purpose.value}
                    for key in sorted(self.keys)
                ],
                "tenant": self.tenant,
            }
        )

    @property
    def digest(self) -> Digest:
        """What the entry holds."""
        return Digest.of(self.to_bytes())

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyTable:
        """Read what `to_bytes` writes; raise `InvalidError` for anything else."""
        body: Any = canonical.decode(data, limit=LIMIT, canonical=True)
        try:
            keys = tuple(LiveKey(DekId(k["dek"]), KeyPurpose(k["purpose"]), k["kek_version"]) for k in body["keys"])
            table = cls(
                tenant=TenantId(body["tenant"]), current=body["current"], destroyed=tuple(body["destroyed"]), keys=keys
            )
            same = body["format"] == KEYS_FORMAT and table.to_bytes() == data
        except (PrivgateError, KeyError, TypeError, ValueError):
            same = False
        if not same:
            raise InvalidError("not a document of data keys of this version")
        return table
