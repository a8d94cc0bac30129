"""Pins of parties: read from outside the evidence alone, each for one name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kernel.errors import ConflictError, InvalidError, NotFoundError
from kernel.ids import Slug
from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.parties import Identity, PartyKind, SealingKey
from privgate.verify.parties.pins import read_pins


def identity(name: str, kind: PartyKind = PartyKind.SITE) -> Identity:
    """Somebody new."""
    key = Ed25519Signer(os.urandom(32)).public_key
    return Identity(name=Slug(name), kind=kind, identity=key, sealing=SealingKey(os.urandom(32)))


def written(path: Path, who: Identity) -> Path:
    """His file."""
    path.write_bytes(who.to_bytes())
    return path


def test_pins_are_identities_from_outside_the_evidence(tmp_path: Path) -> None:
    """A site and a key holder may share a name; the same file twice is one pin."""
    evidence = tmp_path / "evidence"
    evidence.mkdir()
    north, holder = identity("north"), identity("north", PartyKind.KEYHOLDER)
    files = [written(tmp_path / "a", north), written(tmp_path / "b", holder), written(tmp_path / "c", north)]
    assert set(read_pins(evidence, files)) == {north, holder}
    with pytest.raises(InvalidError, match="outside the evidence"):
        read_pins(evidence, [written(evidence / "identity.json", north)])
    (tmp_path / "link").symlink_to(evidence / "identity.json")
    with pytest.raises(InvalidError, match="outside the evidence"):
        read_pins(evidence, [tmp_path / "link"])


def test_what_is_no_pin_or_two_of_one_name_is_refused(tmp_path: Path) -> None:
    """Before anything is verified."""
    evidence = tmp_path / "evidence"
    one = written(tmp_path / "one", identity("north"))
    with pytest.raises(ConflictError, match="`north`"):
        read_pins(evidence, [one, written(tmp_path / "two", identity("north"))])
    with pytest.raises(NotFoundError):
        read_pins(evidence, [tmp_path / "nowhere"])
    for data in (b"", b"{}", b"x" * 10_000, one.read_bytes()[:-5]):
        (tmp_path / "wrong").write_bytes(data)
        with pytest.raises(InvalidError, match=r"identity\.json"):
            read_pins(evidence, [tmp_path / "wrong"])
