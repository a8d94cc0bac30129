"""A round: what the key holder asks of the sites, and what one decryption of their sum gave.

Rules
-----
1. Both are signed by the key holder. Round 1 names the key as the one before it, round n + 1 the result of round n; a
   result names its round. So nobody can leave out, repeat or reorder a round unseen.
2. A result lists every upload that was added by its digest: a site that does not find its own in it, or not the whole
   list of the order's sites, answers nothing more.
3. `decryptions` counts every decryption that was begun under the job's key, and `log` is the head of the key holder's
   own log after it: whoever keeps results can hold that log against them.
4. What leaves with a round is `state`, and it is an output: listed, and priced where outputs are (RULES 37). It lies
   beside what is signed (a parcel), so that an auditor who may not read outputs follows the chain without it.

Format: docs/formats/he-documents.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from kernel import canonical
from kernel.canonical import LARGEST_INTEGER, Digest
from kernel.checks import whole
from kernel.errors import InvalidError
from kernel.ids import JobId, PartyId
from kernel.signing import PublicKey, Signer
from privacy.homomorphic.documents.order import LEAST_SITES, MOST_ROUNDS, MOST_SITES
from privacy.homomorphic.documents.signed import ATTACHMENT_LIMIT, Document, DocumentKind, Parcel
from privacy.jobs.strict import members_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundHeader(Document):
    """What is signed of a round.

    Attributes:
        job: Which job.
        order: The order's digest.
        number: From 1.
        previous: The digest of the key, or of the result before.
        state: The digest of the state's bytes.
    """

    job: JobId
    order: Digest
    number: int
    previous: Digest
    state: Digest

    KIND: ClassVar = DocumentKind.ROUND
    TAG: ClassVar = "he-round/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-round.v1+json"
    MEMBERS: ClassVar = ("job", "number", "order", "previous", "state", "v")

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, number=self.number)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "job": self.job,
            "number": self.number,
            "order": self.order,
            "previous": self.previous,
            "state": self.state,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            number=members["number"],
            previous=Digest(members["previous"]),
            state=Digest(members["state"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What is asked of the sites: a signed header, and the state beside it.

    Attributes:
        job, order, number, previous: As in the header.
        state: What the sites need to compute their sums; the form is the kind's own.
    """

    job: JobId
    order: Digest
    number: int
    previous: Digest
    state: Mapping[str, Any]

    KIND: ClassVar = DocumentKind.ROUND

    def __post_init__(self) -> None:
        if not isinstance(self.state, Mapping):
            raise InvalidError("`state` must be an object", field="state")
        whole(1, MOST_ROUNDS, number=self.number)

    @property
    def header(self) -> RoundHeader:
        """What is signed."""
        return RoundHeader(
            job=self.job,
            order=self.order,
            number=self.number,
            previous=self.previous,
            state=state_digest(self.state),
        )

    @property
    def digest(self) -> Digest:
        """What later documents name it by."""
        return self.header.digest

    def signed(self, signer: Signer) -> bytes:
        """Sign the header and write the parcel."""
        return Parcel(self.header.signed(signer), canonical.encode(dict(self.state))).to_bytes()

    @classmethod
    def opened(cls, data: bytes, trusted: Iterable[PublicKey]) -> Self:
        """Read a parcel whose header one of the trusted keys signed; raise `CorruptError` or `InvalidError`."""
        parcel = Parcel.from_bytes(data)
        return cls._of(RoundHeader.opened(parcel.document, trusted), parcel)

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read a parcel whose signature was verified when it was kept; raise `InvalidError` or `CorruptError`."""
        parcel = Parcel.from_bytes(data)
        return cls._of(RoundHeader.read(parcel.document), parcel)

    @classmethod
    def _of(cls, header: RoundHeader, parcel: Parcel) -> Self:
        state = canonical.decode(parcel.attached(header.state), limit=ATTACHMENT_LIMIT, canonical=True)
        return cls(job=header.job, order=header.order, number=header.number, previous=header.previous, state=state)


def state_digest(state: Mapping[str, Any]) -> Digest:
    """By which a round's header names its state."""
    return Digest.of(canonical.encode(dict(state)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """An upload that was added: whose, and its digest."""

    site: PartyId
    upload: Digest

    def to_json(self) -> dict[str, Any]:
        """Encode as members of a result."""
        return {"site": self.site, "upload": self.upload}

    @classmethod
    def from_json(cls, body: Any) -> Added:
        """Read the members strictly."""
        members = members_of(body, "added", ("site", "upload"))
        return cls(site=PartyId(members["site"]), upload=Digest(members["upload"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """How long the key holder's own log is, and the digest of its last entry."""

    size: int
    head: Digest

    def __post_init__(self) -> None:
        whole(1, LARGEST_INTEGER, size=self.size)

    def to_json(self) -> dict[str, Any]:
        """Encode as members of a result."""
        return {"head": self.head, "size": self.size}

    @classmethod
    def from_json(cls, body: Any) -> LogHead:
        """Read the members strictly."""
        members = members_of(body, "log", ("head", "size"))
        return cls(size=members["size"], head=Digest(members["head"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundResult(Document):
    """What one decryption was of.

    Attributes:
        job: Which job.
        order: The order's digest.
        number: Of the round.
        round: The round's digest.
        added: The uploads, in the order of the order's sites.
        learned: How many numbers the key holder read.
        decryptions: How many decryptions were begun under this job's key so far, this one included.
        log: The head of the key holder's log after it.
    """

    job: JobId
    order: Digest
    number: int
    round: Digest
    added: tuple[Added, ...]
    learned: int
    decryptions: int
    log: LogHead

    KIND: ClassVar = DocumentKind.RESULT
    TAG: ClassVar = "he-result/v1"
    TYPE: ClassVar = "application/vnd.privgate.he-result.v1+json"
    MEMBERS: ClassVar = ("added", "decryptions", "job", "learned", "log", "number", "order", "round", "v")

    def __post_init__(self) -> None:
        whole(1, MOST_ROUNDS, number=self.number)
        whole(LEAST_SITES, MOST_SITES, added=len(self.added))
        whole(1, LARGEST_INTEGER, learned=self.learned)
        whole(1, LARGEST_INTEGER, decryptions=self.decryptions)
        if len({added.site for added in self.added}) != len(self.added):
            raise InvalidError("a site is added once", field="added")

    @property
    def sites(self) -> tuple[PartyId, ...]:
        """Whose uploads were added."""
        return tuple(added.site for added in self.added)

    def to_json(self) -> dict[str, Any]:
        """Encode as JSON members."""
        return {
            "added": [added.to_json() for added in self.added],
            "decryptions": self.decryptions,
            "job": self.job,
            "learned": self.learned,
            "log": self.log.to_json(),
            "number": self.number,
            "order": self.order,
            "round": self.round,
            "v": 1,
        }

    @classmethod
    def from_members(cls, members: Mapping[str, Any]) -> Self:
        """Build it from its members."""
        if not isinstance(members["added"], list) or len(members["added"]) > MOST_SITES:
            raise InvalidError(f"`added` must be a list of at most {MOST_SITES}", field="added")
        return cls(
            job=JobId(members["job"]),
            order=Digest(members["order"]),
            number=members["number"],
            round=Digest(members["round"]),
            added=tuple(Added.from_json(added) for added in members["added"]),
            learned=members["learned"],
            decryptions=members["decryptions"],
            log=LogHead.from_json(members["log"]),
        )
