"""The certificate of an encrypted answer: which model gave it, who holds the key, who learned what, and at what price.

Rules
-----
1. It is made from the entry that says what was evaluated, and its fields have closed kinds: no free text.
2. It charges nothing, and says why: the model's people were charged when the model was made. Its guarantee is theirs,
   copied from its certificate, which is cited by its digest; the copy is held against it.
3. Encryption keeps the client's rows from the gateway. It promises nothing about what an answer tells: `not_covered` is
   mandatory and begins with that.

Format: docs/formats/certificate.md, "Encrypted answer".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.amounts import Delta, Epsilon, Rdp
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from kernel.ids import ApprovalId, DatasetId, DecisionId, JobId, PopulationId, ReleaseId, Slug, TenantId
from privacy.homomorphic.inference import Shape
from privacy.homomorphic.inferences.question import Question
from privacy.release.certificate import Guarantee, SoftwareFacts
from privacy.release.disclosure import EncryptionFacts
from privacy.release.in_toto import Statement
from privacy.release.observers import ObserverFacts
from privacy.release.settlement import KeyHolderOnly

ARTIFACT = "answer.he"
"""The file that is released: ciphertexts."""
PREDICATE_TYPE = "urn:privgate:inference-certificate:v1"


class NotCovered(StrEnum):
    """What the certificate does not say. The values are the sentences that people read."""

    OUTPUT = (
        "What an answer tells whoever reads it: encryption keeps the asked rows from the gateway, and is no "
        "differential privacy. What protects the model's people is the noise that the model was trained with."
    )
    EXTRACTION = (
        "The model's secrecy: whoever asks often enough has its weights. That is why only models are evaluated that "
        "were released and paid for."
    )
    CORRECTNESS = (
        "Whether the gateway evaluated this very model, and rightly: nobody else can see it. A client who knows some "
        "scores can ask about them among others."
    )
    TRAFFIC = "Who asked, when, and for how many batches: the log says so. How many rows they hold, nobody learns."
    CLIENT = "Whether the client kept the secret key to himself, and what he does with the scores."
    UTILITY = "Whether the model is right, fair or fit for a purpose."


@dataclass(frozen=True, kw_only=True)
class AskedModelFacts(Record):
    """The model that was evaluated, as its own certificate has it.

    Attributes:
        release, job, certificate, artifact: The model.
        dataset, population, unit: Whose rows it was trained on, and what one of these people is called.
        graph, features: What it is, and how rows become its numbers.
        guarantee: Of everything that leaves this population.
        epsilon, delta: Of the model alone.
        uncovered_since: From which entry of the ledger on exact results left this population, if any did.
        ledger_seq: The number of the ledger's last entry when that was asked.
    """

    release: ReleaseId
    job: JobId
    certificate: Digest
    artifact: Digest
    dataset: DatasetId
    population: PopulationId
    unit: Slug
    graph: Digest
    features: Digest
    guarantee: Guarantee
    epsilon: Epsilon
    delta: Delta
    uncovered_since: int | None = None
    ledger_seq: int


@dataclass(frozen=True, kw_only=True)
class QuestionFacts(Record):
    """The question: all that its document says beside job, request, model and profile, and how much there was of it.

    Attributes:
        digest: Of the document.
        client: The raw Ed25519 key that signed it, in hexadecimal.
        batches, features, outputs, layers: From which all lengths follow.
        keys, ciphertexts: Digests of what came beside the document.
        bytes: How many these have together.
        answer_bytes: How long the answer is.
    """

    digest: Digest
    client: Slug
    batches: int
    features: int
    outputs: int
    layers: int
    keys: Digest
    ciphertexts: Digest
    bytes: int
    answer_bytes: int

    @property
    def shape(self) -> Shape:
        """What the client had to know of the model; raise `InvalidError` if there is none such."""
        return Shape(features=self.features, outputs=self.outputs, layers=self.layers)


@dataclass(frozen=True, kw_only=True)
class PrecisionFacts(Record):
    """How far a score may be off.

    Attributes:
        expected_error: Of a number of size 1, by the profile; what is read is rounded to it.
        halvings: How often scores were halved to have room: a client doubles as often, and the error with them.
    """

    expected_error: Parameter
    halvings: int


@dataclass(frozen=True, kw_only=True)
class InferencePredicate(Record):
    """Everything the certificate states; see docs/formats/certificate.md."""

    tenant: TenantId
    release: ReleaseId
    job: JobId
    kind: Slug
    request: Digest
    decision: DecisionId
    decision_leaf: Digest
    answered: Digest
    model: AskedModelFacts
    question: QuestionFacts
    encryption: EncryptionFacts
    precision: PrecisionFacts
    observers: tuple[ObserverFacts, ...]
    charge: Rdp
    approvals: tuple[ApprovalId, ...]
    policy_epoch: int
    origin: Slug
    software: SoftwareFacts
    not_covered: tuple[NotCovered, ...]
    issued_at: datetime

    def __post_init__(self) -> None:
        if tuple(self.not_covered) != tuple(NotCovered):
            raise InvalidError("an encrypted answer must say all that is not covered", field="not_covered")
        if self.charge != Rdp.zero():
            raise InvalidError("an answer of a released model costs nothing more", field="charge")

    @property
    def document(self) -> Question:
        """The document that the client signed, put together again; raise `PrivgateError` if there is none such."""
        return Question(
            job=self.job,
            request=self.request,
            certificate=self.model.certificate,
            profile=self.encryption.profile,
            profile_digest=self.encryption.digest,
            batches=self.question.batches,
            keys=self.question.keys,
            ciphertexts=self.question.ciphertexts,
            client=self.question.client,
        )


@dataclass(frozen=True, kw_only=True)
class InferenceCertificate(Statement[InferencePredicate]):
    """A predicate about one answer that leaves."""

    PREDICATE_TYPE: ClassVar = PREDICATE_TYPE
    PREDICATE: ClassVar = InferencePredicate
    WORDS: ClassVar = "an inference certificate"

    @classmethod
    def of(cls, settlement: KeyHolderOnly, artifact_name: str, predicate: InferencePredicate) -> InferenceCertificate:
        """Certify a settled answer; settlement and predicate must tell the same question and model.

        Raises:
            InvalidError: They do not.
        """
        settlement.require_agreement(predicate.job, predicate.model.certificate, predicate.question.digest)
        return cls(artifact_name=artifact_name, artifact=settlement.artifact, predicate=predicate)
