"""A gateway that forges orders with noise: each would be harmless, together they average the noise away (RULES 35)."""

from __future__ import annotations

import os
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import InvalidError
from kernel.events import Parameter
from kernel.ids import JobId
from privacy.homomorphic.documents.order import Outcome
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.homomorphic.noise import SiteNoise
from privacy.units import PrivacyUnit
from privgate.agents.deeds import Cost, Entry
from privgate.agents.log import NAME, entries
from privgate.agents.rules import Requests, Rules
from privgate.agents.site.datasets import SiteDatasets
from privgate.agents.spending import rho_of
from privgate.agents.verifying import verify_home
from tests.support.consortium import Consortium, Party, spec_of
from tests.unit.privgate.test_agents_kinds import average, noised_model, statistics

NOISE = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("2"))
"""A round of it costs an eighth."""


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Three hospitals and a key holder."""
    return Consortium(tmp_path)


def rule(of: Consortium, party: Party, **rules: Any) -> None:
    """Set a party's rules."""
    with party.home(of.clock) as home:
        home.allow(Rules(outcomes=(Outcome.EXACT, Outcome.NOISED), **rules))


def another_job(of: Consortium, **order: Any) -> bool:
    """The gateway orders it under a new number; whether there was a result."""
    of.job = JobId.new(os.urandom)
    return of.play(of.carrier(**order)) is not None


def test_orders_are_answered_until_a_site_s_own_budget_is_spent(consortium: Consortium) -> None:
    """Whatever the gateway's ledger says, and however often the site was started anew."""
    site = consortium.sites[0]
    rule(consortium, site, most_rho=Parameter("0.3"))
    assert another_job(consortium, **statistics(NOISE))
    assert another_job(consortium, **statistics(NOISE))
    assert not another_job(consortium, **statistics(NOISE))
    assert consortium.why(site) == "rules"
    assert "most_rho" in site.told[-1]
    assert verify_home(site.path).history.spent == {site.population: Decimal("0.25")}


def test_an_order_is_refused_whose_rounds_would_not_all_fit(consortium: Consortium) -> None:
    """Before the first of them is answered."""
    site = consortium.sites[0]
    rule(consortium, site, most_rho=Parameter("0.2"))
    carrier = consortium.carrier(**average(NOISE))
    assert consortium.play(carrier) is None
    assert consortium.why(site) == "rules"
    assert Place(consortium.job, DocumentKind.UPLOAD, 1, site.party) not in carrier.kept
    assert verify_home(site.path).history.spent == {}


def test_what_a_round_costs_stands_in_the_entry_of_its_upload(consortium: Consortium) -> None:
    """Which is on the disk before the upload is sent: whoever is killed then has paid."""
    site = consortium.sites[0]
    assert consortium.play(consortium.carrier(**average(NOISE))) is not None
    data = (site.path / NAME).read_bytes()
    found = [entry for entry in entries(data, site.who.identity, site.who.fingerprint) if entry.deed == "answered"]
    assert site.population is not None
    assert [entry.cost for entry in found] == [Cost(population=site.population, rho=Parameter("0.125"))] * 2
    body = found[0].to_json()
    assert Entry.from_json(body) == found[0]
    for wrong in ({"rho": "0"}, {"deed": "round-opened"}, {"population": None}):
        with pytest.raises(InvalidError):
            Entry.from_json({name: value for name, value in (body | wrong).items() if value is not None})


def test_an_exact_result_costs_no_rho(consortium: Consortium) -> None:
    """It is a disclosure, which rules allow or not."""
    rule(consortium, consortium.sites[0], most_rho=Parameter("0.000001"))
    assert consortium.play(consortium.carrier()) is not None
    assert verify_home(consortium.sites[0].path).history.spent == {}


def test_a_round_s_cost_is_never_less_than_it_is() -> None:
    """In exact decimals, rounded up."""
    rho = rho_of(SiteNoise(sites=3, tolerated=0, noise_multiplier=Parameter("0.7")), 3)
    exact = Decimal(3) / (2 * Decimal("0.7") ** 2)
    assert 0 <= rho.number - Decimal("3.06122448979591836734693877551") < Decimal("1e-25")
    assert float(exact) == pytest.approx(float(rho))


ORDERS = {"statistics": statistics, "model": noised_model, "average": average}


@pytest.mark.parametrize("kind", ORDERS)
@pytest.mark.parametrize("member", [{"epsilon": "0.5"}, {"delta": "0.0000000001"}, {"tolerated": 2}])
def test_less_noise_than_the_approved_request_asks_for_is_refused(
    consortium: Consortium, kind: str, member: dict[str, Any]
) -> None:
    """Its digest binds epsilon, delta and who is tolerated: from them an agent works the least noise out."""
    order = ORDERS[kind](NOISE)
    spec = spec_of(consortium.order(**order)) | member
    assert_refused(consortium, {**order, "spec": spec})


@pytest.mark.parametrize("kind", ["model", "average"])
def test_more_noise_than_the_approved_request_asks_for_is_taken(consortium: Consortium, kind: str) -> None:
    """What it asks for is the least."""
    order = ORDERS[kind](NOISE)
    spec = spec_of(consortium.order(**order)) | {"epsilon": "100"}
    carrier = consortium.carrier(**order, spec=spec)
    for party in consortium.everybody:
        consortium.turn(party, carrier)
    assert {consortium.why(party) for party in consortium.everybody} == {None}


@pytest.mark.parametrize(
    "forged",
    [
        {"public_size": 50},
        {"rounds": 1},
        {"clip": "2"},
        {"rate": "1"},
        {"bits": 12},
        {"dropouts": 1, "tolerated": 2},
        {"bounded": "update", "public_size": None, "local_steps": 1, "weights": [1, 1, 1]},
    ],
)
def test_an_average_that_is_not_the_approved_one_is_refused(consortium: Consortium, forged: dict[str, Any]) -> None:
    """Owners approved another size, number of rounds, clip, rate, or who may be missing."""
    order = average(NOISE)
    spec = {**spec_of(consortium.order(**order)), **forged}
    assert_refused(consortium, {**order, "spec": {name: value for name, value in spec.items() if value is not None}})


def test_a_site_may_be_missing_only_where_the_request_says_so(tmp_path: Path) -> None:
    """The plan alone does not say it: an order that lets a site be missing is another one than was approved."""
    of = Consortium(tmp_path, counts=(60, 45, 80, 50))
    order = average(replace(NOISE, sites=4, tolerated=2), sites=4)
    spec = spec_of(of.order(**order))
    assert_refused(of, {**order, "spec": spec, "dropouts": 1})


def test_sites_weigh_what_the_request_says(consortium: Consortium) -> None:
    """Order and plan say the same, and owners approved something else."""
    order = average(None)
    spec = spec_of(consortium.order(**order)) | {"weights": [1, 2, 1]}
    assert_refused(consortium, {**order, "spec": spec})


@pytest.mark.parametrize("forged", [{"counted": "row"}, {"family": "poisson"}])
def test_a_model_that_is_not_the_approved_one_is_refused(consortium: Consortium, forged: dict[str, Any]) -> None:
    """Owners approved that each person counts once, or another family."""
    order = noised_model(NOISE)
    assert_refused(consortium, {**order, "spec": spec_of(consortium.order(**order)) | forged})


def assert_refused(of: Consortium, order: dict[str, Any]) -> None:
    """Every party refuses before anything is encrypted."""
    carrier = of.carrier(**order)
    for party in of.everybody:
        of.turn(party, carrier)
    assert {of.why(party) for party in of.everybody} == {"rules"}
    assert not [place for place in carrier.kept if place.kind in (DocumentKind.KEY, DocumentKind.UPLOAD)]


def test_a_yes_is_good_for_one_job(consortium: Consortium) -> None:
    """The same request under another number waits for another yes; two of them before the first job are one."""
    site = consortium.sites[0]
    rule(consortium, site, requests=Requests.ALLOWED, most_rho=Parameter("4"))
    order = statistics(NOISE)
    allow(consortium, site, order)
    allow(consortium, site, order)
    assert another_job(consortium, **order)
    assert not another_job(consortium, **order)
    assert consortium.why(site) is None
    waiting = consortium.carrier(**order)
    allow(consortium, site, order)
    assert consortium.play(waiting) is not None
    assert not another_job(consortium, **order)


def allow(of: Consortium, site: Party, order: dict[str, Any]) -> None:
    """The site's people say yes to a request."""
    with site.home(of.clock) as home:
        home.allow_request(of.order(**order).spec_digest)


def test_the_first_job_that_uses_a_yes_goes_on(consortium: Consortium) -> None:
    """Over many polls, each in a new life, while a second one waits."""
    site = consortium.sites[0]
    rule(consortium, site, requests=Requests.ALLOWED, most_rho=Parameter("4"))
    order = average(NOISE)
    allow(consortium, site, order)
    first, carrier = consortium.job, consortium.carrier(**order)
    consortium.play(carrier, turns=1)
    assert not another_job(consortium, **order)
    consortium.job = first
    assert consortium.play(carrier) is not None


def test_an_exact_plan_that_leaves_out_declared_rows_is_declined(consortium: Consortium) -> None:
    """Two orders of one request with different numbers of rows would tell by subtraction what lies between."""
    declare(consortium, rows_per_unit=3)
    consortium.play(consortium.carrier(**statistics()))
    assert consortium.why(consortium.sites[0]) == "data"
    assert "rows_per_unit" in consortium.sites[0].told[-1]


def test_an_exact_result_leaves_out_nobody_s_rows(consortium: Consortium) -> None:
    """Of whom there are more rows than the site declares: it declines, as for a model."""
    declare(consortium, rows_per_unit=1)
    consortium.play(consortium.carrier(**statistics()))
    assert consortium.why(consortium.sites[0]) == "data"
    assert "more rows" in consortium.sites[0].told[-1]


def declare(of: Consortium, rows_per_unit: int) -> None:
    """The first hospital declares whoever is of one age as one person."""
    site = of.sites[0]
    assert site.dataset is not None
    known = SiteDatasets(site.path)
    unit = {"kind": "column", "noun": "patient", "column": "age", "rows_per_unit": rows_per_unit}
    known.declare(replace(known.get(site.dataset), unit=PrivacyUnit.from_json(unit)))
