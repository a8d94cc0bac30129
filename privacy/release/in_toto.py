"""An in-toto statement about one artefact: what every kind of certificate is written, signed and read as.

Rules
-----
1. There is one way to write a statement; what is not written so is refused.
2. Which predicate it has is said by the class, and held against what the statement says of itself.

Format: docs/formats/certificate.md. Reference: in-toto Statement v1; DSSE 1.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Generic, Self, TypeVar

from kernel import canonical
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Record
from kernel.signing import Envelope, PublicKey, Signer, open_envelope, sign_envelope

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
LIMIT = 1 << 20

P = TypeVar("P", bound=Record)


@dataclass(frozen=True, kw_only=True)
class Statement(Generic[P]):
    """A predicate about one artefact that leaves.

    Attributes:
        artifact_name: The file's name.
        artifact: Its digest.
        predicate: What is said of it.
    """

    artifact_name: str
    artifact: Digest
    predicate: P

    PREDICATE_TYPE: ClassVar[str]
    PREDICATE: ClassVar[type[Record]]
    WORDS: ClassVar[str]

    def statement(self) -> bytes:
        """The canonical bytes that are signed."""
        return canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "predicate": self.predicate.to_fields(),
                "predicateType": self.PREDICATE_TYPE,
                "subject": [{"digest": {"sha256": self.artifact.hex}, "name": self.artifact_name}],
            }
        )

    def sign(self, signer: Signer) -> Envelope:
        """Sign the statement."""
        return sign_envelope(PAYLOAD_TYPE, self.statement(), signer)

    @classmethod
    def open(cls, envelope: Envelope, trusted: Iterable[PublicKey]) -> Self:
        """Return the certificate that a trusted key signed.

        Raises:
            CorruptError: No trusted signature matches.
            InvalidError: The statement is not complete, canonical and of this version.
        """
        return cls.parse(open_envelope(envelope, PAYLOAD_TYPE, trusted))

    @classmethod
    def parse(cls, statement: bytes) -> Self:
        """Read a statement strictly; raise `InvalidError` otherwise."""
        body = canonical.decode(statement, limit=LIMIT, canonical=True)
        try:
            (subject,) = body["subject"]
            kinds = (body["_type"], body["predicateType"])
            name, digest = subject["name"], Digest("sha256:" + subject["digest"]["sha256"])
            predicate = cls.PREDICATE.from_fields(body["predicate"])
        except (KeyError, TypeError, ValueError):
            raise InvalidError(f"not {cls.WORDS}: a member is missing or of the wrong kind") from None
        certificate = cls(artifact_name=name, artifact=digest, predicate=predicate)  # type: ignore[arg-type]  # PREDICATE is P
        if kinds != (STATEMENT_TYPE, cls.PREDICATE_TYPE) or certificate.statement() != statement:
            raise InvalidError(f"not {cls.WORDS} of a known version")
        return certificate

    @classmethod
    def is_told_by(cls, statement: bytes) -> bool:
        """Whether a statement says of itself that it is one; what it is worth, reading it shows."""
        try:
            body = canonical.decode(statement, limit=LIMIT)
        except InvalidError:
            return False
        return isinstance(body, dict) and body.get("predicateType") == cls.PREDICATE_TYPE
