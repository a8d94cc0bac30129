"""What happened to blind trainings: jobs on ciphertexts under a key that the rows' owner alone has.

Digests and counts that were announced alone: nothing that was decrypted has a field here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernel.canonical import Digest
from kernel.events import Event
from kernel.ids import DatasetId, DecisionId, JobId, PartyId, PopulationId, Slug


@dataclass(frozen=True, kw_only=True)
class BlindRequested(Event):
    """An owner asked to have a model trained on ciphertexts of own rows, and the policy allows it."""

    TYPE: ClassVar[str] = "blind:requested"
    job: JobId
    kind: Slug
    dataset: DatasetId
    population: PopulationId
    party: PartyId
    purpose: Slug
    request: Digest
    decision: DecisionId


@dataclass(frozen=True, kw_only=True)
class BlindOrdered(Event):
    """The site was told."""

    TYPE: ClassVar[str] = "blind:ordered"
    job: JobId
    order: Digest
    party: PartyId
    profile: Slug


@dataclass(frozen=True, kw_only=True)
class BlindBegun(Event):
    """Evaluation keys and encrypted rows came."""

    TYPE: ClassVar[str] = "blind:begun"
    job: JobId
    data: Digest


@dataclass(frozen=True, kw_only=True)
class WeightsReceived(Event):
    """The encrypted weights of an epoch came."""

    TYPE: ClassVar[str] = "weights:received"
    job: JobId
    number: int
    weights: Digest


@dataclass(frozen=True, kw_only=True)
class GradientMade(Event):
    """A worker of the gateway made an epoch's gradient, on ciphertexts."""

    TYPE: ClassVar[str] = "gradient:made"
    job: JobId
    number: int
    gradient: Digest


@dataclass(frozen=True, kw_only=True)
class BlindConcluded(Event):
    """The owner has the model, and says so.

    Attributes:
        final: The digest of the site's last document.
        model: Its salted commitment.
        epochs: How many were made.
    """

    TYPE: ClassVar[str] = "blind:concluded"
    job: JobId
    final: Digest
    model: Digest
    epochs: int


BLIND_EVENTS: tuple[type[Event], ...] = (
    BlindRequested,
    BlindOrdered,
    BlindBegun,
    WeightsReceived,
    GradientMade,
    BlindConcluded,
)
