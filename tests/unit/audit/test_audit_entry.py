"""Entries: what the payload says, what the leaf hides, and that neither has a second spelling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from audit.entry import (
    MOST_ROLES,
    PAYLOAD_LIMIT,
    Actor,
    Entry,
    commitment,
    compose,
    opens,
    parse_leaf,
    parse_payload,
    write_leaf,
)
from audit.events import LogRead, ReadScope
from audit.merkle import leaf_hash
from audit.tiles import LEAF_LIMIT
from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.errors import CorruptError, InvalidError, PrivgateError, TooLargeError
from kernel.events import Event
from kernel.ids import DecisionId, EntryId, PrincipalId, TenantId

ID, TENANT, WHO = EntryId("ent_" + "a" * 26), TenantId("ten_" + "a" * 26), PrincipalId("prn_" + "a" * 26)
DECISION = DecisionId("dec_" + "a" * 26)
READ = LogRead(decision=DECISION, scope=ReadScope.ENTRIES, first=0, count=2)
AT = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
SALT = bytes(32)


def make(**changes: Any) -> Entry:
    """The example of the format page, with changes."""
    parts = {"entry_id": ID, "tenant": TENANT, "seq": 0, "time": AT, "actor": Actor(WHO, ("auditor",)), "salt": SALT}
    return compose(changes.pop("event", READ), **(parts | changes))


def test_the_example_of_the_format_page() -> None:
    """Payload, leaf and leaf hash are exactly what the page describes."""
    entry = make()
    assert entry.payload == (
        b'{"actor":{"principal":"prn_aaaaaaaaaaaaaaaaaaaaaaaaaa","roles":["auditor"]},"fields":{"count":2,'
        b'"decision":"dec_aaaaaaaaaaaaaaaaaaaaaaaaaa","first":0,"scope":"entries"},"id":"ent_aaaaaaaaaaaaaaaaaaaaaaaaaa",'
        b'"seq":0,"tenant":"ten_aaaaaaaaaaaaaaaaaaaaaaaaaa","time":"2026-11-23T09:30:00Z","type":"log:read","v":1,"version":1}'
    )
    committed = commitment(entry.payload, SALT)
    assert entry.leaf == (
        b'{"c":"%s","id":"ent_aaaaaaaaaaaaaaaaaaaaaaaaaa","seq":0,"tenant":"ten_aaaaaaaaaaaaaaaaaaaaaaaaaa","v":1}'
        % committed.encode()
    )
    assert committed == "92ffcdce690a2198bf3fe9324af4a6e46a34478e877e7c76ba22ce00ccba6e41"
    assert entry.leaf_hash == Digest.from_raw(leaf_hash(entry.leaf))


def test_leaf_and_payload_are_canonical_json() -> None:
    """Also where the leaf is written by a template."""
    entry = make(seq=LARGEST_INTEGER, correlation=DECISION)
    for data in (entry.leaf, entry.payload):
        assert canonical.encode(canonical.decode(data, limit=PAYLOAD_LIMIT)) == data
    assert len(entry.leaf) <= LEAF_LIMIT


def test_an_entry_is_read_back() -> None:
    """The header is as it was given, the fields are the event's, and the leaf opens."""
    entry = make(seq=7, correlation=DECISION)
    leaf = parse_leaf(entry.leaf)
    payload = opens(leaf, entry.payload, entry.salt)
    assert (payload.id, payload.tenant, payload.seq, payload.time) == (ID, TENANT, 7, AT)
    assert (payload.type, payload.version, payload.correlation) == ("log:read", 1, DECISION)
    assert payload.actor == Actor(WHO, ("auditor",))
    assert LogRead.from_fields(payload.fields) == READ
    assert (leaf.id, leaf.seq, leaf.tenant) == (ID, 7, TENANT)


def test_the_system_acts_without_a_principal() -> None:
    """Then the payload has no principal, and none is read."""
    payload = parse_payload(make(actor=Actor()).payload)
    assert payload.actor == Actor(None, ())


def test_a_leaf_confirms_no_guess() -> None:
    """The same payload under another salt has another leaf, and the leaf holds nothing of the payload but its names."""
    first, second = make(), make(salt=bytes([1]) * 32)
    assert first.payload == second.payload
    assert first.leaf != second.leaf
    for word in (b"log:read", b"auditor", b"prn_", b"dec_", b"2026"):
        assert word not in first.leaf


def test_a_leaf_opens_for_its_own_payload_and_salt_alone() -> None:
    """Another salt, another payload, and a payload of another entry under the same commitment: all refused."""
    entry, other = make(), make(seq=1)
    leaf = parse_leaf(entry.leaf)
    for payload, salt in ((entry.payload, bytes([1]) * 32), (other.payload, SALT), (entry.payload + b" ", SALT)):
        with pytest.raises(CorruptError):
            opens(leaf, payload, salt)
    for changed in (
        replace(leaf, seq=1),
        replace(leaf, id="ent_" + "b" * 26),
        replace(leaf, tenant="ten_" + "b" * 26),
    ):
        with pytest.raises(CorruptError, match="another leaf"):
            opens(changed, entry.payload, SALT)


def test_a_malformed_payload_does_not_open_even_if_committed_to() -> None:
    """A gateway that commits to something else than a payload is found out when it opens it."""
    junk = b'{"anything":true}'
    leaf = parse_leaf(write_leaf(commitment(junk, SALT), ID, 0, TENANT))
    with pytest.raises(CorruptError, match="malformed"):
        opens(leaf, junk, SALT)


@dataclass(frozen=True, kw_only=True)
class Wide(Event):
    """An event that can be made as large as one likes."""

    TYPE = "test:widened"

    digests: tuple[Digest, ...]


def test_a_payload_is_bounded() -> None:
    """What does not fit 64 KiB is refused when it is written, and when it is read."""
    digest = Digest.of(b"")
    fits = make(event=Wide(digests=(digest,) * 880))
    assert parse_payload(fits.payload).type == "test:widened"
    with pytest.raises(TooLargeError):
        make(event=Wide(digests=(digest,) * 900))
    with pytest.raises(TooLargeError):
        parse_payload(b" " * (PAYLOAD_LIMIT + 1))


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": -1},
        {"seq": LARGEST_INTEGER + 1},
        {"seq": True},
        {"salt": bytes(31)},
        {"time": datetime(2026, 1, 1)},  # noqa: DTZ001
        {"time": AT.replace(microsecond=1)},
        {"correlation": "free text"},
        {"correlation": "job_" + "A" * 26},
        {"correlation": ""},
    ],
    ids=repr,
)
def test_nothing_invalid_is_composed(changes: dict[str, Any]) -> None:
    """A bad counter, salt, time or correlation is refused; a correlation is an identifier, never text."""
    with pytest.raises(InvalidError):
        make(**changes)


@pytest.mark.parametrize("roles", [("Auditor",), ("a b",), ("",), ("a", "a"), tuple(f"r{'x' * i}" for i in range(17))])
def test_roles_are_short_distinct_names(roles: tuple[str, ...]) -> None:
    """Not free text, not repeated, not without end."""
    with pytest.raises(InvalidError):
        Actor(WHO, roles)
    assert len(roles) <= MOST_ROLES + 1


def _body() -> dict[str, Any]:
    return dict(canonical.decode(make(correlation=DECISION).payload, limit=PAYLOAD_LIMIT))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("v", 2),
        ("v", True),
        ("v", "1"),
        ("id", "x"),
        ("id", TENANT),
        ("tenant", ID),
        ("seq", -1),
        ("seq", "0"),
        ("seq", True),
        ("time", "2026-11-23 09:30:00"),
        ("time", 0),
        ("time", "2026-11-23T24:00:00Z"),
        ("type", "log"),
        ("type", "Log:Read"),
        ("type", 1),
        ("version", 0),
        ("version", None),
        ("correlation", None),
        ("correlation", "text"),
        ("fields", []),
        ("fields", None),
        ("actor", None),
        ("actor", {}),
        ("actor", {"roles": "admin"}),
        ("actor", {"roles": [1]}),
        ("actor", {"roles": [["a"]]}),
        ("actor", {"roles": [], "name": "x"}),
        ("actor", {"principal": None, "roles": []}),
        ("actor", {"principal": ["x"], "roles": []}),
        ("extra", 1),
    ],
    ids=repr,
)
def test_a_payload_with_a_wrong_member_is_refused(member: str, value: Any) -> None:
    """Every member has one kind; unknown members are refused."""
    with pytest.raises(InvalidError):
        parse_payload(canonical.encode(_body() | {member: value}))


def test_a_payload_without_a_member_is_refused() -> None:
    """All members but the correlation must be there."""
    for member in _body():
        body = _body()
        del body[member]
        if member == "correlation":
            assert parse_payload(canonical.encode(body)).correlation is None
        else:
            with pytest.raises(InvalidError):
                parse_payload(canonical.encode(body))


def test_every_changed_byte_of_a_leaf_is_noticed() -> None:
    """A changed leaf is malformed, or it no longer opens."""
    entry = make(seq=41)
    for place in range(len(entry.leaf)):
        for bit in range(8):
            changed = bytearray(entry.leaf)
            changed[place] ^= 1 << bit
            with pytest.raises(CorruptError):
                opens(parse_leaf(bytes(changed)), entry.payload, entry.salt)


@pytest.mark.parametrize(
    "leaf", [b"", b"{}", make().leaf + b"\n", b" " + make().leaf, make().leaf.replace(b":0,", b":00,")]
)
def test_what_is_not_a_leaf_is_refused(leaf: bytes) -> None:
    """White space, leading zeros, other members: nothing but the one form."""
    with pytest.raises(CorruptError):
        parse_leaf(leaf)
    with pytest.raises(CorruptError):
        parse_leaf(make().leaf.replace(b'"seq":0', b'"seq":9007199254740992'))


def test_errors_repeat_nothing_of_the_payload() -> None:
    """An error about a payload holds no value that came with it."""
    for member in _body():
        with pytest.raises(PrivgateError) as caught:
            parse_payload(canonical.encode(_body() | {member: "Jane Doe, ward 7"}))
        assert "Jane" not in caught.value.message
