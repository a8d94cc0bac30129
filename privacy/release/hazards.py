"""The known hazards of differential privacy, answered for one release from its certificate alone.

Rules
-----
1. Every release answers every hazard. Where the answer is a figure, it is the certificate's, to the digit.
2. Where nothing is promised, the answer says so.

Reference: NIST SP 800-226 (2025), guidelines for evaluating differential privacy guarantees: its pyramid, from the
parameters of the guarantee over algorithms and their implementation down to trust, security and the collection of
data. The hazards are in our words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from privacy.accounting.mechanisms import PoissonSampledGaussian, PrivateSelection, of_one_try
from privacy.release.certificate import Predicate


def answers(predicate: Predicate) -> tuple[tuple[str, str], ...]:
    """Hazard and answer, in the order of the pyramid."""
    return tuple((hazard, answer(predicate)) for hazard, answer in _ANSWERS)


def _epsilon(predicate: Predicate) -> str:
    total, alone = predicate.guarantee, predicate.this_job_alone
    return f"{total.epsilon} for everything that ever leaves this population; {alone.epsilon} for this release alone."


def _delta(predicate: Predicate) -> str:
    people = predicate.population
    return f"{predicate.guarantee.delta}, one for the population, of about {people.public_size} declared units."


def _unit(predicate: Predicate) -> str:
    people = predicate.population
    return f"One {people.unit} of `{people.unit_domain}`, with at most {people.rows_per_unit} row(s)."


def _neighbours(predicate: Predicate) -> str:
    return f"{predicate.population.adjacency}; every price is for this one relation."


def _composition(predicate: Predicate) -> str:
    total = predicate.guarantee
    return f"Charged {total.charge} on top of {total.before}, of {total.capacity}, at the fixed order {total.order}."


def _sampling(predicate: Predicate) -> str:
    if not any(isinstance(of_one_try(part.mechanism), PoissonSampledGaussian) for part in predicate.mechanisms):
        return "No sampling: every unit is in, and the price says so."
    unhidden = predicate.this_job_alone.unamplified_epsilon
    return f"Poisson, as priced; who was sampled is never stored. For whoever could see it, epsilon is {unhidden}."


def _sensitivity(predicate: Predicate) -> str:
    engine = predicate.engine
    if predicate.kind == "statistics":
        return (
            f"At most {predicate.population.rows_per_unit} row(s) of a unit count, each within declared bounds: all "
            f"vectors together, each in units of what one unit can move it, move by at most {engine.clip}."
        )
    if predicate.kind == "synthesis":
        return (
            f"One unit changes at most {engine.sensitivity} count(s) of each histogram, and by no more each score from "
            "which pairs of columns were chosen."
        )
    if engine.sensitivity is not None:
        return f"One unit changes at most {engine.sensitivity} count(s) of each vector."
    return (
        f"One unit moves a sum by at most {engine.clip} ({engine.clipping or 'flat'} clipping, engine {engine.name})."
    )


def _tuning(predicate: Predicate) -> str:
    selections = [p.mechanism for p in predicate.mechanisms if isinstance(p.mechanism, PrivateSelection)]
    if selections and predicate.selection is not None:
        most = selections[0].tries.most
        return (
            f"A private selection: one of {predicate.selection.candidates} candidates, after 1 to {most} tries whose "
            "number was drawn and is told to nobody; scores had noise before they were compared. It is in the price."
        )
    if predicate.kind == "synthesis":
        return (
            "Which pairs of columns are counted was chosen on the data, by exponential mechanisms: it is in the price."
        )
    return "Each try is a job of its own and is charged like any other; nothing adapts to unnoised values."


def _testing(predicate: Predicate) -> str:
    test = predicate.self_test
    if not test.ran:
        return "No self-test: counts are noised by an exact sampler that unit tests hold to its distribution."
    return (
        f"{len(test.checks)} checks passed; one-run lower bound {test.lower_bound} at confidence {test.confidence} "
        f"({test.method}){', above the claim' if test.exceeds_claim else ''}. It does not look at real rows."
    )


def _constant(sentence: str) -> Callable[[Predicate], str]:
    return lambda _: sentence


_ANSWERS: Final[tuple[tuple[str, Callable[[Predicate], str]], ...]] = (
    ("an epsilon too large to mean anything", _epsilon),
    ("a delta that lets whole people slip through", _delta),
    ("a unit that is not a person", _unit),
    ("neighbours of one kind priced as another", _neighbours),
    ("many releases, each priced as if alone", _composition),
    ("amplification by sampling that did not happen", _sampling),
    ("one person's influence that is not bounded", _sensitivity),
    ("parameters tuned on the data for nothing", _tuning),
    (
        "statistics that leave beside the mechanism",
        _constant("None: no loss, count, norm or message leaves; what was declared was not counted."),
    ),
    ("an implementation that differs from its proof", _testing),
    (
        "floating-point noise",
        _constant("Sum and noise are rounded to one grid before they are added. Not proven to be safe."),
    ),
    (
        "random numbers that can be guessed or repeat",
        _constant("From the operating system, fresh for each attempt; nothing seeds or stores them."),
    ),
    (
        "side channels",
        _constant("Fixed shapes, flushed denormals, ends at fixed ticks. What then remains is not measured."),
    ),
    (
        "a result that is useless or unfair",
        _constant("Nothing is promised. Small groups lose most to noise and clipping; an evaluation is a job."),
    ),
    (
        "whoever holds the raw data",
        _constant("The central model: operator and worker's host are trusted, their acts are logged."),
    ),
    (
        "security around the mechanism",
        _constant("Rows are sealed at rest and opened in a confined child only, after a logged decision."),
    ),
    (
        "harm by collecting the data at all",
        _constant("Outside of what differential privacy can answer; the owner declares purpose, basis and retention."),
    ),
)
