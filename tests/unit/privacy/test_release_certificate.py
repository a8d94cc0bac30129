"""Certificates, their checker and the card, on what a real cycle issued."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kernel import canonical
from kernel.amounts import Epsilon, Rdp
from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from kernel.ids import Slug
from kernel.signing import Ed25519Signer, Envelope, sign_envelope
from privacy.accounting.mechanisms import PoissonSampledGaussian
from privacy.accounting.odds import budget_odds, odds, sentence
from privacy.accounting.price import price
from privacy.accounting.rdp import capacity
from privacy.release.certificate import PAYLOAD_TYPE, NotCovered, PrivacyCertificate
from privacy.release.check import charged_by_block, check, unamplified
from privacy.release.model_card import model_card
from tests.support.cycles import Cycle

STEP = Decimal("0.000000001")


@pytest.fixture(scope="module", params=["release", "evaluation"])
def folder(request: pytest.FixtureRequest, cycle: Cycle) -> Path:
    """A model's release and an evaluation's."""
    return cycle.bundle / str(request.param)


@pytest.fixture(scope="module")
def envelope(folder: Path) -> Envelope:
    """Its signed certificate."""
    return Envelope.from_bytes((folder / "certificate.json").read_bytes())


@pytest.fixture(scope="module")
def certificate(envelope: Envelope) -> PrivacyCertificate:
    """The certificate, read."""
    return PrivacyCertificate.parse(envelope.payload)


def test_a_real_certificate_has_no_problem(certificate: PrivacyCertificate) -> None:
    """Every figure follows from the mechanisms."""
    assert check(certificate.predicate) == ()


def test_writing_and_reading_are_inverse(certificate: PrivacyCertificate, envelope: Envelope) -> None:
    """One spelling: the bytes that were signed come back."""
    assert certificate.statement() == envelope.payload
    assert PrivacyCertificate.parse(certificate.statement()) == certificate


def test_only_a_certificate_key_opens_it(envelope: Envelope, cycle: Cycle) -> None:
    """The pinned key does; the log's and the report's keys do not, nor does another kind of statement."""
    assert PrivacyCertificate.open(envelope, cycle.trust.certificate_keys)
    for keys in (cycle.trust.report_keys, tuple(key.public_key for key in cycle.trust.log_keys)):
        with pytest.raises(CorruptError):
            PrivacyCertificate.open(envelope, keys)
    other = sign_envelope("application/json", envelope.payload, cycle.signer("certificate"))
    with pytest.raises(CorruptError):
        PrivacyCertificate.open(other, cycle.trust.certificate_keys)


def test_the_charge_is_the_price_of_its_mechanisms_in_one_block(certificate: PrivacyCertificate) -> None:
    """Summed as the ledger sums: each use rounded up by itself."""
    predicate = certificate.predicate
    order = predicate.guarantee.order
    sums = charged_by_block(predicate)
    assert predicate.guarantee.charge in sums.values()
    parts = [price(part.mechanism, order=order) for part in predicate.mechanisms]
    assert sum((total.value for total in sums.values()), Decimal(0)) == sum((p.value for p in parts), Decimal(0))


Tampering = Callable[[Decimal], Decimal]


@pytest.mark.parametrize("figure", ["charge", "epsilon", "unamplified_epsilon"])
@pytest.mark.parametrize(
    ("change", "sound"),
    [
        (lambda v: v, True),
        (lambda v: v - STEP, False),
        (lambda v: v + STEP, True),
        (lambda v: (v * Decimal("1.0099")).quantize(STEP), True),
        (lambda v: (v * Decimal("1.0101")).quantize(STEP), False),
    ],
)
def test_a_stated_figure_is_at_least_ours_and_at_most_one_percent_more(
    figure: str, change: Tampering, sound: bool, certificate: PrivacyCertificate
) -> None:
    """RULES 24: never too small by the last digit, never padded by more than 1 %."""
    predicate = certificate.predicate
    if figure == "charge":
        stated = replace(predicate.guarantee, charge=Rdp(change(predicate.guarantee.charge.value)))
        changed = replace(predicate, guarantee=stated)
    else:
        alone = predicate.this_job_alone
        value = Epsilon(change(getattr(alone, figure).value))
        changed = replace(predicate, this_job_alone=replace(alone, **{figure: value}))
    assert (check(changed) == ()) is sound


def test_an_overdrawn_population_is_a_problem(certificate: PrivacyCertificate) -> None:
    """Before + charge <= capacity, to the last digit."""
    guarantee = certificate.predicate.guarantee
    room = guarantee.capacity - guarantee.charge
    exact = replace(certificate.predicate, guarantee=replace(guarantee, before=room))
    assert check(exact) == ()
    over = replace(guarantee, before=Rdp(room.value + STEP))
    assert "overdrawn" in " ".join(check(replace(certificate.predicate, guarantee=over)))


def test_a_capacity_that_does_not_follow_from_the_budget_is_a_problem(certificate: PrivacyCertificate) -> None:
    """Larger and smaller alike; and so is another epsilon at the same capacity."""
    guarantee = certificate.predicate.guarantee
    assert guarantee.capacity == capacity(guarantee.epsilon, guarantee.delta, guarantee.order)
    for wrong in (Rdp(guarantee.capacity.value + STEP), Rdp(guarantee.capacity.value - STEP)):
        changed = replace(certificate.predicate, guarantee=replace(guarantee, capacity=wrong))
        assert check(changed) == ("the capacity does not follow from epsilon, delta and order",)


def test_a_job_s_epsilon_is_stated_at_the_population_s_delta(certificate: PrivacyCertificate) -> None:
    """At a larger delta it would be smaller and could not be compared."""
    alone = certificate.predicate.this_job_alone
    other = replace(alone, delta=type(alone.delta).parse("0.00001"))
    problems = check(replace(certificate.predicate, this_job_alone=other))
    assert "this job's epsilon is not stated at the population's delta" in problems


def test_fewer_times_or_more_noise_than_was_charged_is_a_problem(certificate: PrivacyCertificate) -> None:
    """The mechanisms are what the price is recomputed from."""
    part = certificate.predicate.mechanisms[0]
    more = replace(part, mechanism=part.mechanism.repeated(part.mechanism.times * 2))
    changed = replace(certificate.predicate, mechanisms=(more, *certificate.predicate.mechanisms[1:]))
    assert "the stated charge is not the price of the mechanisms in any block" in check(changed)


def test_what_nobody_can_price_is_a_problem_not_a_crash(certificate: PrivacyCertificate) -> None:
    """An order at which there is no price."""
    guarantee = replace(certificate.predicate.guarantee, order=1)
    assert check(replace(certificate.predicate, guarantee=guarantee))


def test_unamplified_means_that_everybody_was_sampled() -> None:
    """Rate 1 for the subsampled Gaussian, everything else as it is."""
    use = PoissonSampledGaussian(noise_multiplier=Parameter("2"), sampling_rate=Parameter("0.5"), steps=3)
    assert unamplified((use,)) == (replace(use, sampling_rate=Parameter(1)),)


def _edit(envelope: Envelope, change: Callable[[dict[str, Any]], object]) -> bytes:
    body = json.loads(envelope.payload)
    change(body)
    return canonical.encode(body)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["predicate"].pop("not_covered"),
        lambda b: b["predicate"].update(not_covered=[]),
        lambda b: b["predicate"].update(not_covered=["Nothing to worry about."]),
        lambda b: b["predicate"].update(mechanisms=[]),
        lambda b: b["predicate"].update(comment="trust me"),
        lambda b: b["predicate"].pop("agreement"),
        lambda b: b["predicate"]["guarantee"].update(epsilon=3),
        lambda b: b.update(predicateType="urn:privgate:privacy-certificate:v2"),
        lambda b: b.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda b: b.update(subject=[]),
        lambda b: b.update(subject=b["subject"] * 2),
        lambda b: b["subject"][0].update(uri="file:///"),
        lambda b: b.update(predicate=None),
    ],
)
def test_a_statement_is_read_strictly(change: Callable[[dict[str, Any]], object], envelope: Envelope) -> None:
    """Missing, unknown, free-text or other-version members are refused; `not_covered` is mandatory."""
    with pytest.raises(InvalidError):
        PrivacyCertificate.parse(_edit(envelope, change))


def test_another_spelling_is_refused(envelope: Envelope) -> None:
    """Spaces, another order of members, junk."""
    body = json.loads(envelope.payload)
    for data in (json.dumps(body).encode(), envelope.payload + b"\n", b"", b"[]", b"{}", b"\xff"):
        with pytest.raises(InvalidError):
            PrivacyCertificate.parse(data)


def test_signing_again_gives_the_same_bytes(certificate: PrivacyCertificate, cycle: Cycle, folder: Path) -> None:
    """A redo after a crash issues the same certificate: nothing in it is drawn, its time is the charge's."""
    assert certificate.sign(cycle.signer("certificate")).to_bytes() == (folder / "certificate.json").read_bytes()


def test_it_says_what_it_does_not_cover(certificate: PrivacyCertificate) -> None:
    """Operator, other owners, timing, floating point, groups, utility, and what a self-test cannot see."""
    assert set(certificate.predicate.not_covered) == set(NotCovered)
    assert certificate.predicate.self_test.ran is (certificate.predicate.kind == "training")


def test_a_self_test_is_judged_again_from_its_figures(certificate: PrivacyCertificate) -> None:
    """Half the noise, a bound that is not the figures', a check left out, other noise, none at all: each is seen."""
    predicate, stated = certificate.predicate, certificate.predicate.self_test
    if not stated.ran:
        assert check(replace(predicate, self_test=replace(stated, method=Slug("none")))) != ()
        return
    figures = stated.figures
    assert figures is not None
    assert stated.noise is not None
    quiet = replace(figures, squares=Parameter(figures.squares.number / 4))
    for wrong, problem in (
        (replace(stated, figures=quiet), "the self-test fails its check noise-variance"),
        (
            replace(stated, lower_bound=Parameter("0")),
            "what is stated about the self-test does not follow from its figures",
        ),
        (
            replace(stated, checks=stated.checks[1:]),
            "what is stated about the self-test does not follow from its figures",
        ),
        (
            replace(stated, noise=Parameter(stated.noise.number * 2)),
            "the self-test was held against other noise than was charged",
        ),
        (replace(stated, ran=False), "training without a self-test, or without its figures"),
    ):
        if wrong != stated:
            assert problem in check(replace(predicate, self_test=wrong))


def test_the_card_repeats_the_certificate_to_the_digit(envelope: Envelope, folder: Path) -> None:
    """Who is protected, both epsilons, what is not covered, where the evidence stands; and nothing else claims."""
    card, predicate = model_card(envelope), PrivacyCertificate.parse(envelope.payload).predicate
    assert card == (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    for figure in (
        predicate.guarantee.epsilon,
        predicate.guarantee.before,
        predicate.guarantee.charge,
        predicate.guarantee.capacity,
        predicate.this_job_alone.epsilon,
        predicate.this_job_alone.unamplified_epsilon,
        predicate.evidence.charge,
        *predicate.not_covered,
        *(part.mechanism.to_fields()["mechanism"] for part in predicate.mechanisms),
    ):
        assert str(figure) in card
    assert "$" not in card
    front = card.split("---")[1]
    assert f"population_epsilon: {predicate.guarantee.epsilon}" in front
    assert f"release_epsilon: {predicate.this_job_alone.epsilon}" in front
    assert ("confidence_auc" in card) == (predicate.kind == "evaluation")
    assert card.index("Who is protected") < card.index("What is not covered") < card.index("What ran")


def test_the_card_says_in_odds_what_the_epsilons_mean(envelope: Envelope) -> None:
    """Of this release from its mechanisms, of everything from the budget, and not of that once it does not hold."""
    predicate = PrivacyCertificate.parse(envelope.payload).predicate
    total, noun = predicate.guarantee, predicate.population.unit
    alone = odds(*(part.mechanism for part in predicate.mechanisms))
    spent = budget_odds(total.epsilon, total.delta, total.order, total.capacity)
    assert 50 < alone < spent
    card = model_card(envelope)
    assert f"From this release alone: {sentence(noun, alone)}" in card
    assert f"once the whole budget is spent: {sentence(noun, spent)}" in card
    changed = _edit(envelope, lambda b: b["predicate"].update(uncovered_since=7))
    card = model_card(sign_envelope(PAYLOAD_TYPE, changed, Ed25519Signer(b"s" * 32)))
    assert "From this release alone" in card
    assert "once the whole budget is spent" not in card


def test_the_card_names_an_uncovered_population(envelope: Envelope) -> None:
    """An exact result that left is said in the card, with the number in the ledger."""
    changed = _edit(envelope, lambda b: b["predicate"].update(uncovered_since=7))
    card = model_card(sign_envelope(PAYLOAD_TYPE, changed, Ed25519Signer(b"s" * 32)))
    assert "entry 7 of its ledger" in card
