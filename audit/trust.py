"""The trust file: what a reader pinned at enrolment, and the only reason to believe an archive.

Rules
-----
1. It names the log, the tenant, and each key for one purpose. A key of one purpose is never tried for another.
2. It pins the newest checkpoint its owner has verified; that only ever moves forward.
3. Reading is strict: an unknown or missing member is refused, because a pin that is silently dropped is no pin.

Format: `docs/formats/trust.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from audit.checkpoint import Checkpoint
from audit.merkle import EMPTY_ROOT
from audit.note import KeyKind, NoteKey
from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import whole
from kernel.errors import ConflictError, InvalidError, PrivgateError
from kernel.ids import TenantId
from kernel.signing import PublicKey

T = TypeVar("T")
TRUST_LIMIT = 64 * 1024
MOST_KEYS = 32
_NO_ROOT = Digest.from_raw(EMPTY_ROOT)
_MEMBERS = {
    "certificate_keys",
    "last_seen",
    "log_keys",
    "origin",
    "report_keys",
    "tenant",
    "v",
    "witness_keys",
}


@dataclass(frozen=True, slots=True)
class LastSeen:
    """Size and root of the newest checkpoint its owner has verified."""

    size: int = 0
    root: Digest = _NO_ROOT

    def __post_init__(self) -> None:
        whole(0, LARGEST_INTEGER, size=self.size)
        if (self.size == 0) != (self.root == _NO_ROOT):
            raise InvalidError("the empty root belongs to size 0 and to no other", field="last_seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustFile:
    """Pins of one reader.

    Attributes:
        origin: The log's name.
        tenant: Whose history the reader is enrolled for.
        log_keys: Who may sign checkpoints; each is named as the origin.
        certificate_keys: Who may sign privacy certificates.
        report_keys: Who may sign reports.
        witness_keys: Who must have cosigned every checkpoint; may be empty.
        last_seen: The newest verified checkpoint.
    """

    origin: str
    tenant: TenantId
    log_keys: tuple[NoteKey, ...]
    certificate_keys: tuple[PublicKey, ...] = ()
    report_keys: tuple[PublicKey, ...] = ()
    witness_keys: tuple[NoteKey, ...] = ()
    last_seen: LastSeen = LastSeen()

    def __post_init__(self) -> None:
        Checkpoint(self.origin, 0, _NO_ROOT)
        whole(1, MOST_KEYS, log_keys=len(self.log_keys))
        if any(key.kind is not KeyKind.ED25519 or key.name != self.origin for key in self.log_keys):
            raise InvalidError("each of `log_keys` is an Ed25519 key named as the origin", field="log_keys")
        if any(key.kind is not KeyKind.COSIGNATURE for key in self.witness_keys):
            raise InvalidError("each of `witness_keys` is a cosignature key", field="witness_keys")

    def advanced(self, verified: Checkpoint) -> TrustFile:
        """Return the file with a newer checkpoint pinned; only ever after a verification that ended VERIFIED.

        Raises:
            ConflictError: It is of another log, older than the pinned one, or another one of the same size.
        """
        here = LastSeen(verified.size, verified.root)
        same_or_newer = here == self.last_seen or verified.size > self.last_seen.size
        if verified.origin != self.origin or not same_or_newer:
            raise ConflictError("the pinned checkpoint only moves forward, within one log", field="last_seen")
        return replace(self, last_seen=here)

    def to_bytes(self) -> bytes:
        """Write the file."""
        return canonical.encode(
            {
                "certificate_keys": [key.written() for key in self.certificate_keys],
                "last_seen": {"root": self.last_seen.root, "size": self.last_seen.size},
                "log_keys": [key.written() for key in self.log_keys],
                "origin": self.origin,
                "report_keys": [key.written() for key in self.report_keys],
                "tenant": self.tenant,
                "v": 1,
                "witness_keys": [key.written() for key in self.witness_keys],
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> TrustFile:
        """Read a trust file; raise `InvalidError` or `TooLargeError` for anything else."""
        body = canonical.decode(data, limit=TRUST_LIMIT)
        if not isinstance(body, Mapping) or set(body) != _MEMBERS:
            raise InvalidError(f"a trust file has exactly the members {', '.join(sorted(_MEMBERS))}")
        whole(1, 1, v=body["v"])
        seen = body["last_seen"]
        if not isinstance(seen, Mapping) or set(seen) != {"root", "size"}:
            raise InvalidError("`last_seen` has `root` and `size`", field="last_seen")
        return cls(
            origin=body["origin"],
            tenant=TenantId(body["tenant"]),
            log_keys=_keys(body, "log_keys", NoteKey.parse),
            certificate_keys=_keys(body, "certificate_keys", PublicKey.parse),
            report_keys=_keys(body, "report_keys", PublicKey.parse),
            witness_keys=_keys(body, "witness_keys", NoteKey.parse),
            last_seen=LastSeen(seen["size"], Digest(seen["root"])),
        )


def _keys(body: Mapping[str, Any], name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
    written = body[name]
    if not isinstance(written, list) or len(written) > MOST_KEYS:
        raise InvalidError(f"`{name}` is a list of at most {MOST_KEYS} keys", field=name)
    try:
        return tuple(parse(key) for key in written)
    except PrivgateError as error:
        raise InvalidError(f"`{name}`: {error.message}", field=name) from None
