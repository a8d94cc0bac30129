"""Noised results on data that the gateway never sees: held in every population, charged, certified, released."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from privgate.verify.verdict import Outcome
from tests.scenarios.test_collections_struck import struck_at, survived
from tests.support.api import House, done, house, refused
from tests.support.exports import Exported, exported
from tests.support.hospitals import Hospitals, events

ASKED: dict[str, Any] = {
    "kind": "he.statistics",
    "result": "noised",
    "epsilon": "1",
    "family": None,
    "outcome": None,
    "predictors": None,
    "queries": [{"kind": "count"}, {"kind": "histogram", "columns": ["ill"]}],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("noised") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder; no owner lets an exact result leave."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"), exact=False)


def admitted(hospitals: Hospitals, **changes: Any) -> dict[str, Any]:
    """A noised job that every owner has approved, or none had to."""
    job = hospitals.requested(**{**ASKED, **changes})
    for site in hospitals.sites:
        if job["state"] == "awaiting-approval":
            job = done(hospitals.answer(site.owner, job))
    assert job["state"] == "collecting", job
    return job


@pytest.fixture(scope="module")
def story(made: House, hospitals: Hospitals, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Requested, approved by three owners, collected, released, exported."""
    ended = hospitals.play(admitted(hospitals)["job"])
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    refused(made["trainer"].get(f"/v1/releases/{ended['release']}/files/artifact"), 409)
    return exported(made, ended, tmp_path_factory.mktemp("evidence") / "bundle")


def test_the_verifier_recomputes_everything_and_finds_nothing_wrong(story: Exported) -> None:
    """Prices, balances, observers, log, artefact, card and receipt hold together, from the pinned keys alone."""
    verdict = story.judged()
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)
    assert verdict.step("Certificates and log").sentence == "1 certificates say what the log says"


def test_every_population_is_held_touched_and_charged_before_the_result_is_held(made: House, story: Exported) -> None:
    """All reservations and touches stand before the order; all charges before the held release; nothing is marked."""
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == story.job]
    assert told.count("budget:reserved") == told.count("budget:touched") == told.count("budget:charged") == 3
    assert "population:uncovered" not in told
    order = told.index("order:issued")
    assert order > max(place for place, kind in enumerate(told) if kind == "budget:touched")
    assert told.index("release:held") > max(place for place, kind in enumerate(told) if kind == "budget:charged")
    for one in events(made, "budget:charged"):
        assert [charge["times"] for charge in one["charges"]] == [1, 1]  # both sides of the split are in a file


def test_the_certificate_says_what_it_is_worth_against_whom(story: Exported) -> None:
    """Each site has a guarantee of its own; one other site learns what was asked at most, all others more."""
    stated = story.stated
    assert stated["differentially_private"] is True
    assert len({site["population"]["id"] for site in stated["sites"]}) == 3
    assert all(site["this_job_alone"]["epsilon"] <= "1" for site in stated["sites"])
    against = {one["observer"]: one.get("epsilon") for one in stated["epsilons"]}
    assert float(against["one-other-site"]) <= 1 < float(against["all-other-sites-together"])
    card = story.released("MODEL_CARD.md").decode()
    assert "one other site" in card


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (lambda stated: stated["sites"][0]["guarantee"].update(before="0.5"), "Certificates and log"),
        (lambda stated: stated["sites"][0]["guarantee"].update(charge="0.000000001"), "Certified figures"),
        (lambda stated: stated["sites"][1]["guarantee"].update(capacity="9"), "Certified figures"),
        (lambda stated: stated["sites"][1].update(reserve=stated["sites"][0]["reserve"]), "Certificates and log"),
        (lambda stated: stated["sites"][1].update(charge=stated["sites"][0]["charge"]), "Certificates and log"),
        (lambda stated: stated["sites"][2]["this_job_alone"].update(epsilon="0.01"), "Certified figures"),
        (lambda stated: stated["sites"][2]["agreement"].update(rdp="0.01"), "Certified figures"),
        (lambda stated: stated["epsilons"][-1].update(epsilon="0.1"), "Certified figures"),
        (lambda stated: stated["noise"].update(tolerated=0), "Certified figures"),
        (lambda stated: stated["sites"].pop(), "Certified figures"),
        (lambda stated: stated["sites"][0].update(uncovered_since=1), "Certificates and log"),
        (lambda stated: stated["sites"][0].update(least_persons=6), "Certified figures"),
        (lambda stated: stated["sites"][2]["population"].update(rows_per_unit=2), "Certificates and log"),
    ],
)
def test_a_certificate_that_tells_another_story_is_found_out(
    made: House, story: Exported, tmp_path: Path, change: Any, step: str
) -> None:
    """Even signed by the gateway's own key: figures follow from each other, and facts are those of the log."""
    assert story.judged_after(made, change, tmp_path / "bundle").step(step).locations


def test_no_check_of_a_report_finds_fault_with_it(made: House, story: Exported) -> None:
    """Budgets, jobs, decisions, certificates and releases of a noised result, judged from the log."""
    made.settle()
    report = done(made["auditor"].post("/v1/reports", {}), 201)["report"]
    body = made["auditor"].get(f"/v1/reports/{report}/files/report.json").json()
    statement = json.loads(base64.b64decode(body["payload"]))
    failed = {one["check"]: one["findings"] for one in statement["checks"] if one["verdict"] == "fail"}
    looked = {one["check"]: one["looked_at"] for one in statement["checks"]}
    assert failed == {}
    assert min(looked["certificates.complete"], looked["releases.charged"], looked["runs.charged"]) > 0


def test_the_quote_has_a_price_for_each_population_and_an_epsilon_for_each_observer(
    made: House, hospitals: Hospitals, story: Exported
) -> None:
    """Share of the budget, whether it fits, how many such jobs fit; nothing is held by asking."""
    before = len(done(made["trainer"].get("/v1/jobs")))
    quote = done(made["trainer"].post("/v1/quotes", hospitals.body(**ASKED)))["quote"]
    told = quote["privacy"]["reaches"]
    assert [one["query"] for one in told] == ["count, per row", "histogram by ill, per row"]
    assert all(one["query"] and one["reach"][0].isdigit() for one in told)
    populations = quote["privacy"]["populations"]
    assert [one["population"] for one in populations] == [site.dataset["population"] for site in hospitals.sites]
    assert all(one["fits"] and 0 < float(one["budget_share"]) < 1 and one["further"] >= 1 for one in populations)
    assert quote["privacy"]["observers"][0]["observer"] == "whoever reads the result"
    assert len(done(made["trainer"].get("/v1/jobs"))) == before


def test_what_a_noised_request_cannot_have_is_refused_in_words(made: House, hospitals: Hospitals) -> None:
    """No penalty and no number of rounds; an exact request has no epsilon, a noised one needs it."""
    for member, value in (("ridge", "0.5"), ("most_rounds", 3)):
        asked = hospitals.body(result="noised", epsilon="1", **{member: value})
        assert "with noise" in refused(made["trainer"].post("/v1/quotes", asked), 422)["detail"]
    refused(made["trainer"].post("/v1/quotes", hospitals.body(**(ASKED | {"epsilon": None}))), 422)
    refused(made["trainer"].post("/v1/quotes", hospitals.body(epsilon="1")), 422)
    refused(made["trainer"].post("/v1/quotes", hospitals.body(**(ASKED | {"delta": "0.0000001"}))), 422)


def test_a_job_that_one_population_cannot_hold_is_refused_whole(made: House, hospitals: Hospitals) -> None:
    """Nothing is held anywhere, and the answer names the largest such job that fits."""
    last = hospitals.sites[-1]
    lower = made[last.owner].put(
        f"/v1/populations/{last.dataset['population']}/budget", {"epsilon": "5"}, headers={"If-Match": "*"}
    )
    done(lower)
    before = {site.owner: balance(made, site) for site in hospitals.sites}
    asked = hospitals.body(**ASKED | {"epsilon": "4.5"})
    assert [one["fits"] for one in quoted(made, asked)["populations"]] == [True, True, False]
    body = refused(made["trainer"].post("/v1/jobs", asked), 409)
    assert (body["code"], float(body["largest_epsilon"]) > 1) == ("budget-exhausted", True)
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before
    largest = hospitals.body(**ASKED | {"epsilon": body["largest_epsilon"]})
    assert [one["fits"] for one in quoted(made, largest)["populations"]] == [True] * 3
    done(
        made[last.owner].put(
            f"/v1/populations/{last.dataset['population']}/budget", {"epsilon": "8"}, headers={"If-Match": "*"}
        )
    )


def quoted(made: House, body: dict[str, Any]) -> Any:
    """What a quote says of privacy."""
    return done(made["trainer"].post("/v1/quotes", body))["quote"]["privacy"]


def balance(made: House, site: Any) -> Any:
    """What is charged and held in a site's population."""
    shown = done(made[site.owner].get(f"/v1/populations/{site.dataset['population']}"))
    return shown["blocks"]


def test_the_last_yes_holds_the_whole_job_or_refuses_it(made: House, hospitals: Hospitals) -> None:
    """An owner whose grant asks for his yes: until it comes nothing is held, and a struck yes can be given again."""
    first = hospitals.sites[0]
    for grant in hospitals.grants(first):
        done(made[first.owner].ask("DELETE", f"/v1/grants/{grant}"))
    hospitals.permit(first, obligations={"approval_required": True})
    before = {site.owner: balance(made, site) for site in hospitals.sites}
    job = hospitals.requested(**ASKED)
    assert job["state"] == "awaiting-approval"
    refused(hospitals.answer("checker", job), 403)
    with struck_at(made, "collection-approval:before-commit"):
        survived(lambda: hospitals.answer(first.owner, job))
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before
    assert done(hospitals.answer(first.owner, job))["state"] == "collecting"
    assert all(balance(made, site) != before[site.owner] for site in hospitals.sites)
    done(made["trainer"].post(f"/v1/jobs/{job['job']}/cancel"))
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before


@pytest.mark.parametrize("side", ["before-commit", "committed"])
def test_a_struck_end_charges_each_population_once(made: House, hospitals: Hospitals, side: str) -> None:
    """The charge, the certificate and the held release are one commit; what was not acknowledged is sent again."""
    job = admitted(hospitals)["job"]
    with struck_at(made, f"collection-final:{side}") as seen:
        for _ in range(12):
            for party in hospitals.everybody:
                survived(lambda party=party: hospitals.turn(party))  # type: ignore[misc]  # bound at once
    assert f"collection-final:{side}" in seen
    assert done(made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "finished"
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == job]
    assert (told.count("budget:charged"), told.count("release:held"), told.count("job:ended")) == (3, 1, 1)


def test_a_job_cancelled_before_a_round_is_charged_nothing_and_holds_nothing(made: House, hospitals: Hospitals) -> None:
    """The envelope was open, so that it ends in a charge: of the rounds that were opened, which were none."""
    before = {site.owner: balance(made, site) for site in hospitals.sites}
    job = admitted(hospitals)
    done(made["trainer"].post(f"/v1/jobs/{job['job']}/cancel"))
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before
    told = [entry for entry in made.log() if entry.get("correlation") == job["job"]]
    charges = [entry["fields"]["charges"] for entry in told if entry["type"] == "budget:charged"]
    assert [[one["times"] for one in charge] for charge in charges] == [[0, 0]] * 3
