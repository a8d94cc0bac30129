"""Nothing leaves without the whole chain behind it: each of its types is made in the named places and nowhere else.

`Allow.permit -> Permit -> Reservation -> Outcome -> Settlement -> PrivacyCertificate -> Release`
"""

from __future__ import annotations

import ast
import functools

import pytest

from tests.support.sources import Source, definitions, module, program

CHAIN: dict[str, frozenset[str]] = {
    # An Allow is what the one door of policy answers; replay asks the same door.
    "policies.decisions.Allow": frozenset({"policies.enforcer"}),
    # A permit comes out of an allowed decision alone.
    "kernel.permit.Permit": frozenset({"policies.decisions.Allow.permit"}),
    # A reservation is the fold of an event that `ledger.reserve` made from a permit.
    "privacy.budget.reservations.Reservation": frozenset({"privacy.budget.fold"}),
    "privacy.events.budget.BudgetReserved": frozenset({"privacy.budget.ledger.reserve"}),
    "privacy.budget.ledger.reserve": frozenset(
        {"gateway.services.request_job._reserve", "gateway.services.collections.paying._reserve"}
    ),
    # An outcome is a finished run's; it is paid for in the work that charges.
    "privacy.jobs.outcome.Outcome": frozenset(
        {"gateway.services.run_job.finish", "gateway.services.collections.concluding._paid"}
    ),
    "privacy.release.settlement.Charge.of": frozenset(
        {"gateway.services.run_job.finish", "gateway.services.collections.concluding._paid"}
    ),
    "privacy.release.settlement.Charge": frozenset({"privacy.release.settlement.Charge.of"}),
    # A certificate is made from a settlement, or read back strictly from a signed statement.
    "privacy.release.certificate.PrivacyCertificate.of": frozenset({"gateway.services.certify.certify"}),
    "privacy.release.certificate.PrivacyCertificate": frozenset(
        {
            "privacy.release.certificate.PrivacyCertificate.of",
        }
    ),
    # A release is held beside its certificate, and published by the desk.
    "gateway.services.certify.certify": frozenset({"gateway.services.run_job.finish"}),
    "gateway.records.ReleaseRecord": frozenset({"gateway.services.holding.hold_release"}),
    "gateway.services.holding.hold_release": frozenset(
        {
            "gateway.services.run_job.finish",
            "gateway.services.collections.concluding.conclude",
            "gateway.services.inferences.running.finish",
            "gateway.services.blind.concluding.conclude_blind",
        }
    ),
    # An exact result of several sites is a disclosure: it marks each population, and its certificate says so.
    "privacy.release.settlement.Disclosure.of": frozenset({"gateway.services.collections.concluding._disclosed"}),
    "privacy.release.settlement.Disclosure": frozenset({"privacy.release.settlement.Disclosure.of"}),
    "privacy.release.disclosure.DisclosureCertificate.of": frozenset(
        {"gateway.services.collections.certifying.certify_disclosure"}
    ),
    "privacy.release.disclosure.DisclosureCertificate": frozenset(
        {
            "privacy.release.disclosure.DisclosureCertificate.of",
        }
    ),
    "gateway.services.collections.certifying.certify_disclosure": frozenset(
        {"gateway.services.collections.concluding._disclosed"}
    ),
    # A noised one is charged to each population, and its certificate is made of these charges.
    "privacy.release.noised.NoisedCertificate.of": frozenset(
        {"gateway.services.collections.certifying.certify_noised"}
    ),
    "privacy.release.noised.NoisedCertificate": frozenset({"privacy.release.noised.NoisedCertificate.of"}),
    "gateway.services.collections.certifying.certify_noised": frozenset(
        {"gateway.services.collections.concluding._paid"}
    ),
    # An encrypted answer is settled by the entry that says which released model gave it.
    "privacy.events.inferences.QuestionAnswered": frozenset({"gateway.services.inferences.running.finish"}),
    "privacy.release.settlement.KeyHolderOnly.of": frozenset({"gateway.services.inferences.running.finish"}),
    "privacy.release.settlement.KeyHolderOnly": frozenset({"privacy.release.settlement.KeyHolderOnly.of"}),
    "privacy.release.inference.InferenceCertificate.of": frozenset(
        {"gateway.services.inferences.certifying.certify_answer"}
    ),
    "privacy.release.inference.InferenceCertificate": frozenset({"privacy.release.inference.InferenceCertificate.of"}),
    "gateway.services.inferences.certifying.certify_answer": frozenset({"gateway.services.inferences.running.finish"}),
    # What its owner has alone is settled by his word, and certified as that.
    "privacy.release.settlement.OwnerOnly.of": frozenset({"gateway.services.blind.concluding.conclude_blind"}),
    "privacy.release.settlement.OwnerOnly": frozenset({"privacy.release.settlement.OwnerOnly.of"}),
    "privacy.release.blind.BlindCertificate.of": frozenset({"gateway.services.blind.concluding.certify_blind"}),
    "privacy.release.blind.BlindCertificate": frozenset({"privacy.release.blind.BlindCertificate.of"}),
    "gateway.services.blind.concluding.certify_blind": frozenset({"gateway.services.blind.concluding.conclude_blind"}),
    # Reading a statement makes a certificate of its class again.
    "privacy.release.in_toto.Statement": frozenset({"privacy.release.in_toto.Statement.parse"}),
    # A reader builds the entry that he expects, to compare it with the one that the receipt proves.
    "privacy.events.releases.ReleasePublished": frozenset(
        {
            "gateway.services.release_desk._move",
            "privgate.sdk.believing._require_published",
            "privgate.verify.releases._receipt",
        }
    ),
}
"""For each constructor of the chain (or the function that stands for it), who may call it: a function or a module."""

TURNS_AN_ALLOW = frozenset({"gateway.services.request_job._reserve", "gateway.services.collections.paying._reserve"})


@functools.cache
def calls() -> tuple[tuple[str, str], ...]:
    """Every call in the program, with its place."""
    return tuple(call for source in program() for call in source.calls())


def allowed(place: str, callers: frozenset[str]) -> bool:
    """Whether a place is one of the callers, or within it."""
    return any(place == caller or place.startswith(f"{caller}.") for caller in callers)


@pytest.mark.parametrize("made", CHAIN)
def test_a_link_of_the_chain_is_made_only_where_the_table_says(made: str) -> None:
    """Whoever else makes one has found a way around a step."""
    places = {place for called, place in calls() if called == made}
    assert places, f"nobody makes {made}: is the table up to date?"
    assert {place for place in places if not allowed(place, CHAIN[made])} == set()


def test_an_allow_is_turned_into_a_permit_only_where_budget_is_held() -> None:
    """Each of these places holds the budget in the same transaction."""
    places = {place for called, place in calls() if called.endswith(".permit") and not called.startswith("kernel.")}
    assert places == TURNS_AN_ALLOW


@pytest.mark.parametrize("name", sorted({*CHAIN, *(caller for callers in CHAIN.values() for caller in callers)}))
def test_the_table_names_what_exists(name: str) -> None:
    """A renamed function would silently widen or empty the table."""
    defined = {found for source in program() for found in definitions(source)}
    assert name in defined


def test_a_new_maker_would_be_seen() -> None:
    """The scan follows aliases and class methods: a forbidden caller of each form is found."""
    text = (
        "from privacy.release import certificate as c\n"
        "from kernel.permit import Permit as Leave\n"
        "def cheat():\n"
        "    Leave(job=1)\n"
        "    c.PrivacyCertificate.of(1, 2, 3)\n"
    )
    found = set(Source("gateway.services.cheating", "-", text).calls())
    place = "gateway.services.cheating.cheat"
    assert ("kernel.permit.Permit", place) in found
    assert ("privacy.release.certificate.PrivacyCertificate.of", place) in found


def test_the_permit_is_asked_for_before_anything_is_held() -> None:
    """`ledger.reserve` cannot be called without a permit: it has no default and no other way in."""
    source = module("privacy.budget.ledger")
    reserve = next(n for n in source.tree.body if isinstance(n, ast.FunctionDef) and n.name == "reserve")
    assert [argument.arg for argument in reserve.args.args] == ["standing", "permit"]
    assert reserve.args.defaults == []
