"""Noised jobs on data of sites, attacked where they pay: between plan and hold, past blocks, through who declines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.records import VersionRecord
from gateway.services.collections import quoting
from gateway.services.collections.attesting import attest as attest_rows
from gateway.wiring import Gateway
from kernel.ids import DatasetId
from privacy.homomorphic.documents.parties import PartyKind
from privgate.agents.site.datasets import SiteDatasets
from tests.scenarios.test_collections_noised import ASKED, admitted, balance
from tests.scenarios.test_collections_struck import struck_at, survived
from tests.support.api import House, dataset_body, done, house, population_body, refused
from tests.support.consortium import SCHEMA, UNIT
from tests.support.hospitals import Hospitals, Party, events

ANY = {"If-Match": "*"}
QUOTED = ASKED | {"queries": [{"kind": "count"}]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("paying") / "home") as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Three hospitals and a key holder; no owner lets an exact result leave."""
    return Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14), exact=False)


class Asked:
    """Stands before the second accountant: what happens whenever somebody asks it."""

    def __init__(self, gateway: Gateway, act: Any) -> None:
        self._gateway, self._before, self._act = gateway, gateway.on, act

    def __enter__(self) -> None:
        opinion = self._before.second_opinion

        def asked(*question: Any) -> Any:
            self._act()
            return opinion(*question)

        object.__setattr__(self._before, "second_opinion", asked)
        self._opinion = opinion

    def __exit__(self, *_: object) -> None:
        object.__setattr__(self._before, "second_opinion", self._opinion)


def test_rows_attested_while_a_job_is_planned_are_those_that_its_hold_pins(made: House, hospitals: Hospitals) -> None:
    """Between plan and hold nothing is locked: version, hold and certificate would tell of two files."""
    site = hospitals.sites[0]
    versions: list[str] = []

    def attest() -> None:
        if not versions:
            path = hospitals.folder / f"{site.name}.csv"
            path.write_text(path.read_text(encoding="utf-8") + "50,5,true\n", encoding="utf-8")
            with made.gateway.on.database.read() as reading:
                party = reading.parties.get(id=site.party)
            dataset = DatasetId(site.dataset["dataset"])
            found = attest_rows(made.gateway.on, party, dataset, hospitals.signed(site))
            assert isinstance(found, VersionRecord)
            versions.append(found.id)

    with Asked(made.gateway, attest):
        job = admitted(hospitals)["job"]
    attested = {one["version"]: one["manifest"] for one in events(made, "site:attested")}
    held = {one["population"]: one["manifest"] for one in events(made, "budget:reserved") if one["job"] == job}
    assert held[site.dataset["population"]] == attested[versions[0]]
    done(made["trainer"].post(f"/v1/jobs/{job}/cancel"))


def test_the_second_accountant_is_asked_before_anything_is_locked(made: House, hospitals: Hospitals) -> None:
    """It takes seconds, also after a restart, which forgets what was asked: meanwhile everybody else goes on."""
    job = admitted(hospitals)["job"]
    waited: list[int] = []

    def another_work() -> None:
        with made.gateway.on.database.upkeep("meanwhile"):
            waited.append(1)

    with Asked(made.gateway, another_work):
        assert hospitals.play(job)["state"] == "finished"
    assert len(waited) == len(hospitals.sites)


def test_nobody_waits_while_a_quote_is_worked_out(
    made: House, hospitals: Hospitals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a job is worth against whom takes many prices: other works go on meanwhile."""
    waited: list[int] = []
    worked_out = quoting.observers

    def after_another_work(*arguments: Any, **named: Any) -> Any:
        with made.gateway.on.database.upkeep("meanwhile"):
            waited.append(1)
        return worked_out(*arguments, **named)

    monkeypatch.setattr(quoting, "observers", after_another_work)
    done(made["trainer"].post("/v1/quotes", hospitals.body(**QUOTED)))
    assert waited == [1]


def test_an_owner_has_one_part_in_a_job(made: House, hospitals: Hospitals) -> None:
    """Whoever has all sites but one takes his own numbers off the sum: three sites are three owners."""
    first, last = hospitals.sites[0], hospitals.sites[-1]
    second = hospitals.enrolled("hospital-1b", first.owner, PartyKind.SITE)
    population = done(made[first.owner].post("/v1/populations", population_body()), 201)["population"]
    declared = dataset_body(population, schema=SCHEMA.to_json(), unit=UNIT.to_json(), site=second.party)
    second.dataset = done(made[first.owner].post("/v1/datasets", declared), 201)
    hospitals.permit(second, exact=False)
    datasets = [one.dataset["dataset"] for one in (first, second, last)]
    answer = refused(made["trainer"].post("/v1/quotes", hospitals.body(**QUOTED | {"datasets": datasets})), 422)
    assert "no owner has two parts" in answer["detail"]


def test_nobody_counts_a_site_s_people_by_who_declines(made: House, hospitals: Hospitals) -> None:
    """A job of a tiny epsilon costs next to nothing, and `least_persons` would tell whether a site has so many."""
    for number in (6, 13):
        body = hospitals.body(**QUOTED | {"epsilon": "0.05", "least_persons": number})
        assert refused(made["trainer"].post("/v1/jobs", body), 422)["field"] == "least_persons"


def own_minimum(hospitals: Hospitals, site: Party, least: int) -> None:
    """A site's people want more persons than five."""
    known, dataset = SiteDatasets(site.path), DatasetId(site.dataset["dataset"])
    known.declare(replace(known.get(dataset), least_persons=least))


def test_a_job_that_a_site_declines_is_charged_in_full_everywhere(made: House, hospitals: Hospitals) -> None:
    """RULES 11: it is in doubt what was sent, and a refusal is one bit. The site's own minimum decides."""
    site = hospitals.sites[1]
    own_minimum(hospitals, site, 30)
    job = admitted(hospitals)
    ended = hospitals.play(job["job"])
    own_minimum(hospitals, site, 5)
    assert ended["state"] == "failed"
    told = [entry["fields"] for entry in made.log() if entry.get("correlation") == job["job"]]
    assert [fields["in_full"] for fields in told if "in_full" in fields] == [True] * 3


@pytest.mark.parametrize(
    ("commit", "side"),
    [("collection", "before-commit"), ("cancel-collection", "before-commit"), ("cancel-collection", "committed")],
)
def test_a_struck_request_or_cancellation_holds_and_charges_whole_or_nothing(
    made: House, hospitals: Hospitals, commit: str, side: str
) -> None:
    """Holds of all populations stand or fall together, and so does what a cancelled job gives back."""
    before = {site.owner: balance(made, site) for site in hospitals.sites}
    with struck_at(made, f"{commit}:{side}") as seen:
        if commit == "collection":
            survived(lambda: made["trainer"].post("/v1/jobs", hospitals.body(**QUOTED)))
        else:
            job = admitted(hospitals)["job"]
            survived(lambda: made["trainer"].post(f"/v1/jobs/{job}/cancel"))
    assert f"{commit}:{side}" in seen
    if commit == "cancel-collection":
        made["trainer"].post(f"/v1/jobs/{job}/cancel")
        assert done(made["trainer"].get(f"/v1/jobs/{job}"))["state"] == "cancelled"
        assert [one["job"] for one in events(made, "budget:charged")].count(job) == 3
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before


def test_a_request_whose_answer_was_lost_is_the_same_job(made: House, hospitals: Hospitals) -> None:
    """Struck down once it was committed: sent again under its key it holds nothing a second time."""
    body, key = hospitals.body(**QUOTED), {"Idempotency-Key": "lost-answer"}
    with struck_at(made, "collection:committed"):
        survived(lambda: made["trainer"].post("/v1/jobs", body, headers=key))
    first, second = (done(made["trainer"].post("/v1/jobs", body, headers=key), 202)["job"] for _ in range(2))
    assert first == second
    held = [one["job"] for one in events(made, "budget:reserved")]
    assert (held.count(first), held[-3:]) == (3, [first] * 3)
    done(made["trainer"].post(f"/v1/jobs/{first}/cancel"))


@pytest.mark.slow
def test_struck_documents_change_nothing_of_what_is_paid(made: House, hospitals: Hospitals) -> None:
    """On either side of every commit on the way: agents send again, and each population is charged once."""
    job = admitted(hospitals, queries=[{"kind": "count"}])["job"]
    for commit in ("key", "round", "upload", "result"):
        for side in ("before-commit", "committed"):
            with struck_at(made, f"collection-{commit}:{side}"):
                for party in hospitals.everybody:
                    survived(lambda party=party: hospitals.turn(party))  # type: ignore[misc]  # bound at once
    assert hospitals.play(job)["state"] == "finished"
    told = [entry["type"] for entry in made.log() if entry.get("correlation") == job]
    assert (told.count("budget:charged"), told.count("release:held"), told.count("round:opened")) == (3, 1, 1)


@pytest.mark.parametrize("side", ["before-commit", "committed"])
def test_a_struck_withdrawal_charges_in_full_once(made: House, hospitals: Hospitals, side: str) -> None:
    """A site attests other rows: the job ends at its next round, charged whole, whichever side the gateway died on."""
    job = admitted(hospitals)["job"]
    site = hospitals.sites[2]
    path = hospitals.folder / f"{site.name}.csv"
    path.write_text(path.read_text(encoding="utf-8") + "51,5,true\n", encoding="utf-8")
    hospitals.attest(site)
    with struck_at(made, f"collection-withdrawn:{side}") as seen:
        survived(lambda: hospitals.play(job, turns=3))  # type: ignore[arg-type]  # what is returned is not looked at
    assert f"collection-withdrawn:{side}" in seen
    assert hospitals.play(job)["state"] == "failed"
    told = [entry for entry in made.log() if entry.get("correlation") == job]
    assert [entry["fields"]["in_full"] for entry in told if entry["type"] == "budget:charged"] == [True] * 3
    assert [entry["type"] for entry in told].count("round:opened") == 0


def test_a_last_yes_over_budget_names_the_largest_job_that_fits(made: House, hospitals: Hospitals) -> None:
    """As a request does that waits for nobody; the job is refused, and nothing is held."""
    first = hospitals.sites[0]
    for grant in hospitals.grants(first):
        done(made[first.owner].ask("DELETE", f"/v1/grants/{grant}"))
    hospitals.permit(first, obligations={"approval_required": True})
    job = hospitals.requested(**QUOTED | {"epsilon": "7"})
    path = f"/v1/populations/{hospitals.sites[-1].dataset['population']}/budget"
    owner = made[hospitals.sites[-1].owner]
    done(owner.put(path, {"epsilon": "6"}, headers=ANY))
    before = {site.owner: balance(made, site) for site in hospitals.sites}
    body = refused(hospitals.answer(first.owner, job), 409)
    assert 0 < float(body["largest_epsilon"]) < 6
    assert done(made["trainer"].get(f"/v1/jobs/{job['job']}"))["state"] == "refused"
    assert {site.owner: balance(made, site) for site in hospitals.sites} == before
    done(owner.put(path, {"epsilon": "8"}, headers=ANY))
