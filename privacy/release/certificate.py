"""The privacy certificate: an in-toto statement whose every number a stranger can recompute.

Rules
-----
1. A certificate is built from a settlement, never beside one, and its fields have closed kinds: no free text.
2. Two epsilons, both labelled: `guarantee` is the headline (everything that ever leaves this population, together);
   `this_job_alone` is information.
3. `not_covered` is mandatory: a certificate that covers everything is refused.
4. Its time is the charge entry's, so that a redo after a crash gives the same bytes.

Format: docs/formats/certificate.md. Reference: in-toto Statement v1; DSSE 1.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

from kernel.amounts import Delta, Epsilon, Rdp, Share
from kernel.canonical import Digest
from kernel.errors import InvalidError
from kernel.events import Parameter, Record
from kernel.ids import ApprovalId, DatasetId, DecisionId, JobId, PopulationId, ReleaseId, Slug, TenantId, VersionId
from privacy.accounting.mechanisms import MechanismUse
from privacy.budget.reservations import InBlocks
from privacy.jobs.recipe import Recipe
from privacy.release.in_toto import LIMIT as LIMIT
from privacy.release.in_toto import PAYLOAD_TYPE as PAYLOAD_TYPE
from privacy.release.in_toto import STATEMENT_TYPE as STATEMENT_TYPE
from privacy.release.in_toto import Statement
from privacy.release.settlement import Charge
from privacy.selftest.report import CONFIDENCE, METHOD, Check, SelfTest, bound_at, gaussian_bound_at
from privacy.units import Adjacency

PREDICATE_TYPE = "urn:privgate:privacy-certificate:v1"


class NotCovered(StrEnum):
    """What a certificate does not say. The values are the sentences that people read."""

    OTHER_OWNERS = "The same person's rows at another owner, or in a population the owner did not join with this one."
    OPERATOR = (
        "An operator, worker host or key holder who breaks the rules: they are trusted, and their acts are logged."
    )
    FLOATING_POINT = "Floating-point effects of the noise: it is rounded to a grid, which is not proven to be safe."
    TIMING = "Durations: denormals are flushed and ends are quantised, and what then remains is not measured."
    GROUPS = "Facts about groups: a model may tell truths about many people alike, including people who are not in it."
    UTILITY = "Whether the model is right, fair or fit for a purpose."
    SELF_TEST = (
        "Beyond the mechanism: a self-test looks at noise, sampling and averaging on coordinates of its own, never at "
        "real rows; that their gradients were clipped rests on the engine's proofs and a rehearsal with made-up rows. "
        "An evaluation has no self-test."
    )


@dataclass(frozen=True, kw_only=True)
class DatasetFacts(Record):
    """Which sealed rows were read."""

    id: DatasetId
    version: VersionId
    manifest: Digest


@dataclass(frozen=True, kw_only=True)
class PopulationFacts(Record):
    """Who is protected, and what neighbouring means."""

    id: PopulationId
    unit: Slug
    unit_domain: Slug
    adjacency: Adjacency
    rows_per_unit: int
    public_size: int
    holdout_share: Share


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Record):
    """What ran: a model graph on declared features, or the release that was evaluated."""

    graph: Digest | None = None
    template: Slug | None = None
    features: Digest | None = None
    loss: Slug | None = None
    release: ReleaseId | None = None


@dataclass(frozen=True, kw_only=True)
class ChargedMechanism(InBlocks):
    """One mechanism use, with the number of times that was charged, and whose rows it read."""

    mechanism: MechanismUse


@dataclass(frozen=True, kw_only=True)
class EngineFacts(Record):
    """What ran beside the numbers that enter the price."""

    name: Slug
    clip: Parameter | None = None
    clipping: Slug | None = None
    normaliser: Parameter | None = None
    sensitivity: Parameter | None = None


@dataclass(frozen=True, kw_only=True)
class SelectionFacts(Record):
    """What a tuning released: one candidate of so many. How many were tried is nowhere.

    Attributes:
        candidates: How many there were to draw from.
        recipe: The released one's.
    """

    candidates: int
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class Guarantee(Record):
    """The headline: adaptive, cumulative, over everything that leaves this population."""

    epsilon: Epsilon
    delta: Delta
    order: int
    before: Rdp
    charge: Rdp
    capacity: Rdp
    ledger_seq: int


@dataclass(frozen=True, kw_only=True)
class ThisJobAlone(Record):
    """Information about this job by itself at the population's delta.

    Blocks hold different people: it is said of the block that it costs most. Privacy loss distributions do not express
    a selection, so that a tuning has no `pld_epsilon`.
    """

    epsilon: Epsilon
    delta: Delta
    order: int
    unamplified_epsilon: Epsilon
    pld_epsilon: Parameter | None = None
    pld_library: Slug


@dataclass(frozen=True, kw_only=True)
class AgreementFacts(Record):
    """What the second accountant said before this was signed."""

    library: Slug
    version: Slug
    order: int
    rdp: Parameter


@dataclass(frozen=True, kw_only=True)
class EvidenceFacts(Record):
    """Where the log entries stand: back by leaf hash, which is known before the log integrates them."""

    origin: Slug
    decision: Digest
    reserve: Digest
    charge: Digest


@dataclass(frozen=True, kw_only=True)
class SoftwareFacts(Record):
    """What signed it."""

    version: Slug
    digest: Digest


@dataclass(frozen=True, kw_only=True)
class SelfTestFacts(Record):
    """The mechanism's own test, or that there was none.

    Attributes:
        ran: Whether there was one: with training always, with an evaluation never.
        checks: The names of the checks, all of which passed.
        method: How the lower bound was found, `confidence` how sure it is.
        lower_bound: What the run itself shows epsilon to be at least, at the population's delta.
        gaussian_bound: The same if the run were one Gaussian mechanism: tighter, and no more than a hint.
        exceeds_claim: Whether the lower bound is above this job's epsilon. Information: one bound in twenty may err.
        noise: Standard deviation of the noise over the clip that the figures were held against.
        figures: What the run gave; every check and the bound can be computed from it again.
    """

    ran: bool
    checks: tuple[Check, ...] = ()
    method: Slug | None = None
    confidence: Parameter | None = None
    lower_bound: Parameter | None = None
    gaussian_bound: Parameter | None = None
    exceeds_claim: bool | None = None
    noise: Parameter | None = None
    figures: SelfTest | None = None

    @classmethod
    def of(cls, figures: SelfTest, noise: Parameter, alone: ThisJobAlone) -> SelfTestFacts:
        """State what passed.

        Args:
            figures: Already judged: a job whose self-test failed has no certificate.
            noise: Of the plan, over the step's clip.
            alone: What the bound stands against.
        """
        bound = bound_at(figures, alone.delta)
        return cls(
            ran=True,
            checks=tuple(Check),
            method=Slug(METHOD),
            confidence=CONFIDENCE,
            lower_bound=bound,
            gaussian_bound=gaussian_bound_at(figures, alone.delta),
            exceeds_claim=bound.number > alone.epsilon.value,
            noise=noise,
            figures=figures,
        )


@dataclass(frozen=True, kw_only=True)
class Predicate(Record):
    """Everything the certificate states; see docs/formats/certificate.md."""

    tenant: TenantId
    release: ReleaseId
    job: JobId
    kind: Slug
    decision: DecisionId
    dataset: DatasetFacts
    population: PopulationFacts
    request: Digest
    model: ModelFacts
    mechanisms: tuple[ChargedMechanism, ...]
    engine: EngineFacts
    selection: SelectionFacts | None = None
    guarantee: Guarantee
    this_job_alone: ThisJobAlone
    agreement: AgreementFacts
    evidence: EvidenceFacts
    approvals: tuple[ApprovalId, ...]
    policy_epoch: int
    uncovered_since: int | None = None
    software: SoftwareFacts
    self_test: SelfTestFacts
    not_covered: tuple[NotCovered, ...]
    issued_at: datetime

    def __post_init__(self) -> None:
        if not self.not_covered:
            raise InvalidError("a certificate must say what it does not cover", field="not_covered")
        if not self.mechanisms:
            raise InvalidError("a certificate needs at least one mechanism", field="mechanisms")


@dataclass(frozen=True, kw_only=True)
class PrivacyCertificate(Statement[Predicate]):
    """A predicate about one artefact that leaves.

    Attributes:
        artifact_name: `model.safetensors`, `evaluation.json` or `statistics.json`.
        artifact: Its digest.
    """

    PREDICATE_TYPE: ClassVar = PREDICATE_TYPE
    PREDICATE: ClassVar = Predicate
    WORDS: ClassVar = "a privacy certificate"

    @classmethod
    def of(cls, settlement: Charge, artifact_name: str, predicate: Predicate) -> PrivacyCertificate:
        """Certify a settled outcome; the settlement and the predicate must tell the same charge.

        Raises:
            InvalidError: They do not.
        """
        settlement.require_agreement(predicate.job, predicate.guarantee.charge, predicate.guarantee.ledger_seq)
        return cls(artifact_name=artifact_name, artifact=settlement.artifact, predicate=predicate)
