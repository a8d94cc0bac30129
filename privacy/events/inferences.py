"""What happened to questions that clients asked of released models, under encryption.

Digests and counts alone: a question's ciphertexts and an answer's have no field here, and neither has a number of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DecisionId, JobId, PopulationId, ReleaseId, Slug


@dataclass(frozen=True, kw_only=True)
class InferenceRequested(Event):
    """A trainer asked for the evaluation of a released model, which the policy allows, at once or once approved.

    Attributes:
        model, certificate: The model, and the digest of its certificate.
        dataset, population: That it was trained on.
    """

    TYPE: ClassVar[str] = "inference:requested"
    job: JobId
    model: ReleaseId
    certificate: Digest
    dataset: DatasetId
    population: PopulationId
    purpose: Slug
    request: Digest
    decision: DecisionId
    awaits_approval: bool


@dataclass(frozen=True, kw_only=True)
class QuestionReceived(Event):
    """A client's question came, under the token of whoever acts here.

    Attributes:
        question: Its document's digest, which names keys and ciphertexts.
        client: The SHA-256 of the key that signed it.
        profile: The encryption's named parameters.
        batches: How many there are.
    """

    TYPE: ClassVar[str] = "question:received"
    job: JobId
    question: Digest
    client: Digest
    profile: Slug
    batches: int


@dataclass(frozen=True, kw_only=True)
class QuestionAnswered(Event):
    """The model was evaluated; only whoever asked can read what came of it.

    Attributes:
        question: Which.
        model: The digest of the model's certificate.
        answer: The digest of the ciphertexts that may be released.
    """

    TYPE: ClassVar[str] = "question:answered"
    job: JobId
    question: Digest
    model: Digest
    answer: Digest


INFERENCE_EVENTS: tuple[type[Event], ...] = (InferenceRequested, QuestionReceived, QuestionAnswered)
