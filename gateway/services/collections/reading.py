"""Reading what parties send: whatever is wrong with it, the answer is one sentence and nothing of its content."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from gateway.collection_records import PartyRecord
from kernel.errors import CorruptError, InvalidError
from privacy.homomorphic.documents.signed import Document

D = TypeVar("D", bound=Document)


@contextmanager
def judged() -> Iterator[None]:
    """Turn what is wrong with a party's bytes into `InvalidError`: they are its fault, not damage here."""
    try:
        yield
    except CorruptError:
        raise InvalidError(
            "not a document of this place, signed by the party whose it is and made for this job", field="content"
        ) from None


def opened_by(kind: type[D], data: bytes, party: PartyRecord) -> D:
    """A document that a party signed with its identity; raise `InvalidError` if it is none."""
    with judged():
        return kind.opened(data, [party.who.identity])
