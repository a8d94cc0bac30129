"""One entry of the log: a payload that only its tenant sees, and the leaf that commits to it.

Rules
-----
1. The payload is canonical JSON with a closed set of members; its fields come from an event and hold no free text.
2. The leaf is a commitment under 32 fresh random bytes, with id, tenant and counter: it confirms no guess.
3. The leaf hash is known as soon as the entry is written. Whoever must cite an entry cites it by that hash.
4. Reading is strict: a leaf or payload has one spelling, and every part is of its kind.

Format: `docs/formats/log-entry.md`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from audit.merkle import LEAF_PREFIX
from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import matching, size, whole
from kernel.clock import format_time, parse_time
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from kernel.events import Event
from kernel.ids import EntryId, PrincipalId, TenantId

PAYLOAD_LIMIT = 64 * 1024
SALT_SIZE = 32
MOST_ROLES = 16
_TAG = b"privgate/entry/v1\x00"
_ROLE = re.compile(r"[a-z](?:[a-z-]{0,30}[a-z])?")
_TYPE = re.compile(r"[a-z](?:[a-z-]{0,30}[a-z])?:[a-z](?:[a-z-]{0,30}[a-z])?")
_ANY_ID = re.compile(r"[a-z]{3}_[a-z2-7]{26}")
_LEAF = re.compile(
    rb'\{"c":"([0-9a-f]{64})","id":"(ent_[a-z2-7]{26})","seq":(0|[1-9][0-9]{0,15}),"tenant":"(ten_[a-z2-7]{26})","v":1\}'
)
_MEMBERS = {"actor", "fields", "id", "seq", "tenant", "time", "type", "v", "version"}


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acted, with the roles held at that moment; no principal means the system itself."""

    principal: PrincipalId | None = None
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole(0, MOST_ROLES, roles=len(self.roles))
        for role in self.roles:
            matching(_ROLE, "must be names of a-z and -", roles=role)
        if len(set(self.roles)) != len(self.roles):
            raise InvalidError("`roles` must not repeat", field="roles")

    def to_json(self) -> dict[str, Any]:
        """Encode for the payload."""
        roles = [str(role) for role in self.roles]
        return {"roles": roles} if self.principal is None else {"principal": self.principal, "roles": roles}

    @classmethod
    def from_json(cls, body: Any) -> Actor:
        """Read what `to_json` writes; raise `InvalidError` otherwise."""
        members = set(body) if isinstance(body, Mapping) else set()
        if not {"roles"} <= members <= {"principal", "roles"} or not isinstance(body["roles"], list):
            raise InvalidError("`actor` has `roles` and may have `principal`", field="actor")
        if not all(isinstance(role, str) for role in body["roles"]):
            raise InvalidError("`roles` are names of a-z and -", field="roles")
        if "principal" in members and not isinstance(body["principal"], str):
            raise InvalidError("`principal` must be an identifier", field="principal")
        return _actor(body.get("principal"), tuple(body["roles"]))


@lru_cache(maxsize=4096)
def _actor(principal: str | None, roles: tuple[str, ...]) -> Actor:
    # The same few people act again and again; validating each of them once halves the time to read a history.
    return Actor(None if principal is None else PrincipalId(principal), roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it is stored: payload and salt for the tenant, leaf for the tree."""

    id: EntryId
    tenant: TenantId
    seq: int
    type: str
    payload: bytes
    salt: bytes
    leaf: bytes

    @property
    def leaf_hash(self) -> Digest:
        """What certificates and permits cite."""
        return Digest.from_raw(hashlib.sha256(LEAF_PREFIX + self.leaf).digest())


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf as anybody may read it."""

    commitment: str
    id: str
    seq: int
    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload that was read: the header, and the event's type, version and fields as they stand."""

    id: EntryId
    tenant: TenantId
    seq: int
    time: datetime
    actor: Actor
    type: str
    version: int
    correlation: str | None
    fields: Mapping[str, Any]


def compose(
    event: Event,
    *,
    entry_id: EntryId,
    tenant: TenantId,
    seq: int,
    time: datetime,
    actor: Actor,
    correlation: str | None = None,
    salt: bytes,
) -> Entry:
    """Make the entry that records `event`.

    Args:
        event: What happened.
        entry_id: A fresh identifier.
        tenant: Whose log it belongs to.
        seq: The tenant's counter, assigned under its lock.
        time: When; whole seconds, UTC.
        actor: Who did it.
        correlation: An identifier that groups entries, such as a job's.
        salt: 32 fresh random bytes.

    Raises:
        TooLargeError: The payload would exceed 64 KiB.
        InvalidError: A part has no valid form.
    """
    whole(0, LARGEST_INTEGER, seq=seq)
    size(SALT_SIZE, salt=salt)
    body: dict[str, Any] = {
        "actor": actor.to_json(),
        "fields": event.to_fields(),
        "id": entry_id,
        "seq": seq,
        "tenant": tenant,
        "time": format_time(time),
        "type": matching(_TYPE, "must look like noun:verbed", type=event.TYPE),
        "v": 1,
        "version": event.VERSION,
    }
    if correlation is not None:
        body["correlation"] = matching(_ANY_ID, "must be an identifier, such as a job's", correlation=correlation)
    payload = canonical.encode(body)
    if len(payload) > PAYLOAD_LIMIT:
        raise TooLargeError(f"a log entry has at most {PAYLOAD_LIMIT} bytes", field="fields")
    leaf = write_leaf(commitment(payload, salt), entry_id, seq, tenant)
    return Entry(id=entry_id, tenant=tenant, seq=seq, type=event.TYPE, payload=payload, salt=salt, leaf=leaf)


def commitment(payload: bytes, salt: bytes) -> str:
    """The salted commitment to a payload, in hexadecimal."""
    return hashlib.sha256(_TAG + salt + payload).hexdigest()


def write_leaf(committed: str, entry_id: str, seq: int, tenant: str) -> bytes:
    """Write a leaf. Its members are plain ASCII, so that this is its canonical JSON."""
    return f'{{"c":"{committed}","id":"{entry_id}","seq":{seq},"tenant":"{tenant}","v":1}}'.encode("ascii")


def parse_leaf(data: bytes) -> Leaf:
    """Read a leaf; raise `CorruptError` for anything that `write_leaf` would not write."""
    match = _LEAF.fullmatch(data)
    if match is None or int(match[3]) > LARGEST_INTEGER:
        raise CorruptError("a leaf of the log is malformed")
    return Leaf(match[1].decode(), match[2].decode(), int(match[3]), match[4].decode())


def parse_payload(data: bytes) -> Payload:
    """Read a payload strictly.

    Raises:
        InvalidError, TooLargeError: Not a payload of this version. The event's fields are not looked into.
    """
    body = canonical.decode(data, limit=PAYLOAD_LIMIT, canonical=True)
    if not isinstance(body, dict) or body.keys() - {"correlation"} != _MEMBERS:
        raise InvalidError("not a log entry of version 1")
    if _count(body, "v") != 1:
        raise InvalidError("not a log entry of version 1", field="v")
    correlation, fields = body.get("correlation"), body["fields"]
    if "correlation" in body:
        matching(_ANY_ID, "must be an identifier", correlation=body["correlation"])
    if not isinstance(fields, dict):
        raise InvalidError("`fields` must be an object", field="fields")
    if not isinstance(body["type"], str) or _TYPE.fullmatch(body["type"]) is None:
        raise InvalidError("`type` must look like noun:verbed", field="type")
    return Payload(
        id=EntryId(body["id"]),
        tenant=TenantId(body["tenant"]),
        seq=_count(body, "seq"),
        time=parse_time(body["time"]),
        actor=Actor.from_json(body["actor"]),
        type=body["type"],
        version=_count(body, "version", least=1),
        correlation=correlation,
        fields=fields,
    )


def opens(leaf: Leaf, payload: bytes, salt: bytes) -> Payload:
    """Return the payload that a leaf commits to.

    Raises:
        CorruptError: Payload and salt are not what the leaf commits to, or the payload is malformed or another's.
    """
    if commitment(payload, salt) != leaf.commitment:
        raise CorruptError("payload and salt do not open the leaf")
    try:
        read = parse_payload(payload)
    except PrivgateError as error:
        raise CorruptError(f"the leaf opens, but its payload is malformed: {error.message}") from None
    if (read.id, read.tenant, read.seq) != (leaf.id, leaf.tenant, leaf.seq):
        raise CorruptError("the payload belongs to another leaf")
    return read


def _count(body: Mapping[str, Any], name: str, *, least: int = 0) -> int:
    # `kernel.checks.whole` costs ten times as much, and canonical JSON has bounded the value already.
    value = body[name]
    if type(value) is not int or value < least:
        raise InvalidError(f"`{name}` must be a whole number from {least}", field=name)
    return value
