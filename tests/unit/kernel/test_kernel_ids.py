"""Identifiers: random, printable, one class per noun; slugs."""

from __future__ import annotations

import inspect
import os

import pytest

from kernel import ids
from kernel.errors import InvalidError
from kernel.ids import EntryId, Identifier, JobId, Slug

CLASSES = [c for _, c in inspect.getmembers(ids, inspect.isclass) if issubclass(c, Identifier) and c is not Identifier]


def test_every_noun_has_its_own_prefix() -> None:
    """Three letters, used once."""
    prefixes = [c.PREFIX for c in CLASSES]
    assert len(set(prefixes)) == len(prefixes) >= 10
    assert all(len(prefix) == 3 and prefix.isalpha() and prefix.islower() for prefix in prefixes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda c: c.__name__)
def test_an_identifier_is_drawn_from_128_bits_and_read_back(kind: type[Identifier]) -> None:
    """16 bytes are asked for, all of them matter, and the constructor reads what `new` made."""
    asked: list[int] = []

    def entropy(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    drawn = kind.new(entropy)
    assert asked == [16]
    assert kind(drawn) == drawn
    assert len({kind.new(lambda n, i=i: (1 << i).to_bytes(n, "big")) for i in range(128)}) == 128


@pytest.mark.parametrize("other", [c for c in CLASSES if c is not JobId], ids=lambda c: c.__name__)
def test_an_identifier_of_another_noun_is_refused(other: type[Identifier]) -> None:
    """A job is never taken for anything else."""
    with pytest.raises(InvalidError):
        JobId(other.new(os.urandom))


@pytest.mark.parametrize(
    "written",
    [
        "",
        "ent",
        "ent_",
        "ent_" + "a" * 25,
        "ent_" + "a" * 27,
        "ent_" + "A" * 26,
        "ent_" + "1" * 26,
        "ent-" + "a" * 26,
        "ent_" + "a" * 26 + "\n",
        " ent_" + "a" * 26,
        "ent_" + "a" * 25 + "/",
        "ent_" + "\u0430" * 26,
        None,
        7,
    ],
    ids=repr,
)
def test_other_texts_are_refused(written: object) -> None:
    """Only the prefix, an underscore and 26 characters of the alphabet."""
    with pytest.raises(InvalidError):
        EntryId(written)


def test_the_base_class_names_nothing() -> None:
    """It has no prefix, so nothing is one of it."""
    with pytest.raises(InvalidError):
        Identifier("_" + "a" * 26)


@pytest.mark.parametrize("written", ["a", "research/cancer", "a.b-c_d/e", "0", "a" * 64, "a/b/c/d/e"])
def test_slugs(written: str) -> None:
    """Short public names."""
    assert Slug(written) == written


@pytest.mark.parametrize(
    "written",
    ["", "A", "a b", "/a", "a/", "a//b", "-a", "a-", "a" * 65, "a/b/c/d/e/f", "..", "a\n", "\u00e9", None, 1],
    ids=repr,
)
def test_other_names_are_no_slugs(written: object) -> None:
    """No upper case, no spaces, no empty parts, no path tricks, no other alphabets."""
    with pytest.raises(InvalidError):
        Slug(written)
