"""Checks of privacy certificates: complete, true to the log, and recomputed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, localcontext

from compliance.certificates import Certified, certified
from compliance.checks.budgets import ledgers
from compliance.checks.check import Check, Source, Tally
from compliance.history import Entered, History, first_of
from kernel.canonical import Digest
from kernel.errors import PrivgateError
from kernel.ids import Slug
from policies.events import DecisionMade
from privacy.accounting.mechanisms import MechanismUse
from privacy.accounting.price import EXACT, divergence
from privacy.events.budget import BudgetCharged, BudgetReserved
from privacy.events.jobs import JobQueued, JobRequested
from privacy.release.blind import check_blind
from privacy.release.certificate import PrivacyCertificate
from privacy.release.check import check
from privacy.release.disclosure_check import check_disclosure
from privacy.release.inference import InferenceCertificate
from privacy.release.inference_check import check_inference
from privacy.release.noised import NoisedCertificate
from privacy.release.noised_check import check_noised
from privacy.release.statements import Certificate

RELATIVE = Decimal("1e-9")
FLOAT_ERROR = Decimal("3e-15")
"""What the other library's doubles may be off by, for one time and each unit of the order."""


def _held(history: History, tally: Tally) -> Iterator[tuple[Certified, PrivacyCertificate]]:
    """Each certificate of the period that can be read and is the one that the log names; the others are noted."""
    for release, found in certified(history).items():
        if found.held.index < history.from_size:
            continue
        tally.look()
        if not found.present:
            tally.cannot_tell("the archive has no certificate for this release", found.held, release)
        elif not found.genuine:
            tally.fault("the certificate is not the one that the log names", found.held, release)
        elif found.disclosure is not None:
            _of_this_release(tally, found, found.disclosure, check_disclosure(found.disclosure.predicate))
        elif found.noised is not None:
            _noised(history, tally, found, found.noised)
        elif found.inference is not None:
            _answered(history, tally, found, found.inference)
        elif found.blind is not None:
            _of_this_release(tally, found, found.blind, check_blind(found.blind.predicate))
        elif found.certificate is None:
            tally.fault("the certificate is incomplete or malformed", found.held, release)
        else:
            yield found, found.certificate


def _of_this_release(tally: Tally, found: Certified, certificate: Certificate, problems: Iterable[str]) -> None:
    """A certificate must be of this very release, and complete by itself: of those without a price that is all."""
    stated, held = certificate.predicate, found.held.event
    same = (stated.release, stated.job, stated.kind, certificate.artifact) == (
        held.release, held.job, held.kind, held.artifact,
    )  # fmt: skip
    tally.demand(same, "it certifies another release, job or artefact", found.held, held.release)
    for problem in problems:
        tally.fault(problem, found.held, held.release)


def _noised(history: History, tally: Tally, found: Certified, certificate: NoisedCertificate) -> None:
    """Of a noised result of several sites each price is worked out again, and is the one in its population's ledger."""
    stated = certificate.predicate
    _of_this_release(tally, found, certificate, check_noised(stated))
    folded = ledgers(history).ledgers
    for site in stated.sites:
        ledger = folded.get(site.population.id)
        reservation = None if ledger is None else ledger.reservations.get(stated.job)
        settled = None if reservation is None else reservation.settled
        said = site.guarantee
        charged = settled is not None and (said.before, said.charge, said.ledger_seq) == (
            settled.before, settled.charge, settled.ledger_seq,
        )  # fmt: skip
        tally.demand(charged, "its charge is not the one in the ledger", found.held, site.population.id)


def _answered(history: History, tally: Tally, found: Certified, certificate: InferenceCertificate) -> None:
    """An encrypted answer has no price to recompute; its model's guarantee is the one in the model's certificate."""
    stated, held = certificate.predicate, found.held.event
    _of_this_release(tally, found, certificate, check_inference(stated))
    model = certified(history).get(stated.model.release)
    own = None if model is None or model.certificate is None or not model.genuine else model.certificate.predicate
    copied = own is not None and model is not None and model.held.event.certificate == stated.model.certificate
    if own is None or not copied or own.guarantee != stated.model.guarantee:
        tally.fault("its model's guarantee is not that of the model's certificate", found.held, held.release)


def _complete(history: History, tally: Tally) -> None:
    """Strict reading has refused absent and unknown fields; the facts must be those of the log."""
    requested, queued = history.about("job", JobRequested), history.about("job", JobQueued)
    for found, certificate in _held(history, tally):
        stated, held = certificate.predicate, found.held.event
        asked, ready = first_of(requested.get(held.job)), first_of(queued.get(held.job))
        same = (stated.release, stated.job, stated.kind, stated.tenant, certificate.artifact) == (
            held.release, held.job, held.kind, history.tenant, held.artifact,
        )  # fmt: skip
        tally.demand(same, "it certifies another release, job, tenant or artefact", found.held, held.release)
        facts = (
            asked is not None
            and ready is not None
            and (
                (stated.dataset.id, stated.population.id, stated.request)
                == (asked.event.dataset, asked.event.population, asked.event.request)
                and (stated.dataset.version, stated.dataset.manifest) == (ready.event.version, ready.event.manifest)
            )
        )
        tally.demand(facts, "it names other data, or another request, than the log", found.held, held.release)


def _recomputed(history: History, tally: Tally) -> None:
    """Every figure follows from its mechanisms, and is the ledger's."""
    folded = ledgers(history).ledgers
    for found, certificate in _held(history, tally):
        stated = certificate.predicate
        for problem in check(stated):
            tally.fault(problem, found.held, stated.release)
        ledger = folded.get(stated.population.id)
        reservation = None if ledger is None else ledger.reservations.get(stated.job)
        settled = None if reservation is None else reservation.settled
        said = stated.guarantee
        same = settled is not None and (said.before, said.charge, said.ledger_seq) == (
            settled.before, settled.charge, settled.ledger_seq,
        )  # fmt: skip
        tally.demand(same, "its charge is not the one in the ledger", found.held, stated.release)


def _anchored(history: History, tally: Tally) -> None:
    """Decision, reservation and charge are cited by the hashes of their entries."""
    by_leaf: dict[Digest, Entered[object]] = {e.leaf: e for e in history.of(object)}
    kinds = {"decision": DecisionMade, "reserve": BudgetReserved, "charge": BudgetCharged}
    for found, certificate in _held(history, tally):
        stated = certificate.predicate
        tally.demand(stated.evidence.origin == history.origin, "it cites another log", found.held, stated.release)
        for name, kind in kinds.items():
            cited = by_leaf.get(getattr(stated.evidence, name))
            fits = cited is not None and isinstance(cited.event, kind) and cited.index < found.held.index
            if fits and cited is not None and isinstance(cited.event, (BudgetReserved, BudgetCharged)):
                fits = cited.event.job == stated.job
            tally.demand(fits, f"the entry that it cites as its {name} is not one", found.held, stated.release)


def _agreed(history: History, tally: Tally) -> None:
    """Another library's figures stand beside ours; here they are compared, whoever wrote them down."""
    for found, certificate in _held(history, tally):
        stated = certificate.predicate
        said, uses = stated.agreement, [part.mechanism for part in stated.mechanisms]
        same_order = said.order == stated.guarantee.order
        tally.demand(same_order, "the second accountant was asked at another order", found.held, stated.release)
        try:
            close = _close(said.rdp.number, uses, said.order)
        except PrivgateError:
            close = False
        tally.demand(close, "the second accountant's divergence is not ours", found.held, stated.release)
        alone = stated.this_job_alone
        tighter = alone.pld_epsilon is None or alone.pld_epsilon.number <= alone.epsilon.value
        tally.demand(tighter, "the second accountant's epsilon is above ours", found.held, stated.release)


def _close(theirs: Decimal, uses: Sequence[MechanismUse], order: int) -> bool:
    with localcontext(EXACT):
        ours, times = divergence(*uses, order=order), sum(use.runs for use in uses)
        return abs(theirs - ours) <= RELATIVE * ours + FLOAT_ERROR * times * order / (order - 1)


CHECKS = (
    Check(
        id=Slug("certificates.complete"),
        title="Every certificate has all its fields",
        question="Each release has the certificate that the log names by digest; no field of it is missing, and its "
        "facts are those of the log.",
        sources=(Source.RELEASES, Source.CERTIFICATES),
        look=_complete,
    ),
    Check(
        id=Slug("certificates.recomputed"),
        title="Every epsilon, computed again, is right",
        question="Each figure of each certificate follows from the mechanisms that it lists, is never below our own "
        "and never above 1.01 of it, and is what the ledger charged.",
        sources=(Source.RELEASES, Source.CERTIFICATES, Source.LEDGER),
        look=_recomputed,
    ),
    Check(
        id=Slug("certificates.agreed"),
        title="A second accountant says the same",
        question="The divergence that another library gave for the same mechanisms is within 1e-9 of our own, "
        "relatively, and its epsilon is not above ours.",
        sources=(Source.RELEASES, Source.CERTIFICATES),
        look=_agreed,
    ),
    Check(
        id=Slug("certificates.anchored"),
        title="Every certificate points into the log",
        question="The entries of the decision, the reservation and the charge that a certificate cites by hash are in "
        "the log, and are of its job.",
        sources=(Source.RELEASES, Source.CERTIFICATES, Source.LEDGER),
        look=_anchored,
    ),
)
