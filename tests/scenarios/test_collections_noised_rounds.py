"""Noised results that take several rounds: a model, and an average that goes on without a site; paid as they went."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from audit.archive import Archive
from audit.verify import verify_log
from gateway.services.collections.turns import ring_all
from kernel.amounts import Delta
from kernel.clock import ManualClock, SystemClock
from kernel.ids import JobId
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.order import Order
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.signed import DocumentKind
from privacy.homomorphic.glm.noised import read_noised_glm
from privacy.homomorphic.noise import Protected, SiteNoise
from privacy.homomorphic.observing import observers
from privacy.release.noised import ObservedFacts
from privgate.sdk.collections import SitesQuote
from privgate.verify.history import History
from privgate.verify.parties.case import Case
from privgate.verify.parties.endings import ending_problems
from privgate.verify.parties.states import state_problems
from privgate.verify.verdict import Outcome
from tests.support.api import House, done, house, refused
from tests.support.exports import Exported, exported
from tests.support.hospitals import Hospitals, worker_of

MODEL: dict[str, Any] = {"result": "noised", "epsilon": "1", "round_seconds": 60}
AVERAGE: dict[str, Any] = {
    **MODEL,
    "kind": "he.aggregate",
    "family": None,
    "outcome": None,
    "predictors": None,
    "features": {
        "columns": [{"column": "age", "transform": "scale"}],
        "label": {"column": "ill", "encoding": "positive", "category": "true"},
        "v": 1,
    },
    "clip": "1",
    "rate": "2",
    "rounds": 2,
}


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    """Of gateway and agents; it stands still unless it is moved."""
    return ManualClock(SystemClock().now())


@pytest.fixture(scope="module")
def made(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("rounds") / "home", clock=clock) as running:
        yield running


@pytest.fixture(scope="module")
def hospitals(made: House, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Hospitals:
    """Four hospitals and a key holder; no owner lets an exact result leave."""
    folder = tmp_path_factory.mktemp("hospitals")
    return Hospitals(made, folder, (60, 45, 80, 50), exact=False, clock=clock)


@pytest.fixture(scope="module")
def model(hospitals: Hospitals, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A logistic model with noise, over four hospitals."""
    job = str(hospitals.requested(**MODEL)["job"])
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    return exported(hospitals.made, ended, tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="module")
def average(hospitals: Hospitals, clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """An average of two rounds; the last hospital misses the first."""
    job = str(hospitals.requested(**AVERAGE, dropouts=1)["job"])
    for party in (hospitals.holder, *hospitals.sites[:3]):
        hospitals.turn(party)
    clock.advance(59)
    hospitals.turn(hospitals.holder)
    assert hospitals.holder.wire.fetch(Place(JobId(job), DocumentKind.RESULT, 1)) is None
    clock.advance(2)
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    return exported(hospitals.made, ended, tmp_path_factory.mktemp("average") / "bundle")


def charged(made: House, job: str) -> list[list[int]]:
    """How often each mechanism of a job was charged, in each population."""
    told = [entry for entry in made.log() if entry.get("correlation") == job and entry["type"] == "budget:charged"]
    return [[part["times"] for part in entry["fields"]["charges"]] for entry in told]


def order_of(hospitals: Hospitals, job: str) -> Order:
    """What the parties of a job were told."""
    found = hospitals.holder.wire.fetch(Place(JobId(job), DocumentKind.ORDER))
    assert found is not None
    return Order.read(found)


@pytest.mark.parametrize("name", ["model", "average"])
def test_the_verifier_recomputes_everything_and_finds_nothing_wrong(name: str, request: pytest.FixtureRequest) -> None:
    """Prices, balances, observers, log, artefact, card and receipt hold together, from the pinned keys alone."""
    story: Exported = request.getfixturevalue(name)
    verdict = story.judged()
    wrong = [(step.title, step.locations) for step in verdict.steps if step.locations and step.title != "Report"]
    assert (wrong, verdict.outcome) == ([], Outcome.VERIFIED)


def test_a_model_is_one_gaussian_however_many_rounds_it_has(made: House, model: Exported) -> None:
    """Six rounds for a logistic one; each population pays once, on both sides of its split."""
    assert charged(made, model.job) == [[1, 1]] * 4
    stated = model.stated
    assert stated["course"]["rounds"] == 6
    assert {part["mechanism"]["count"] for site in stated["sites"] for part in site["mechanisms"]} == {1}
    against = {one["observer"]: float(one["epsilon"]) for one in stated["epsilons"]}
    assert against["one-other-site"] <= 1 < against["all-other-sites-together"]
    body = read_noised_glm(model.released("he-glm.json"))
    assert body["sites"] == 4


def test_an_average_that_went_on_without_a_site_is_charged_whole_and_says_so(made: House, average: Exported) -> None:
    """Every population pays both rounds, that of the missing site too; epsilon is of the noise that was there."""
    assert charged(made, average.job) == [[2, 2]] * 4
    stated = average.stated
    assert (stated["noise"]["present"], stated["noise"]["tolerated"]) == (3, 2)
    assert stated["protects"] == "one person at one site"
    against = {one["observer"]: one for one in stated["epsilons"]}
    assert float(against["one-other-site"]["epsilon"]) <= 1
    assert against["one-other-site"]["noise_multiplier"] == stated["noise"]["noise_multiplier"]
    assert "In every round the noise of 3" in average.released("MODEL_CARD.md").decode()


def without_enough_noise(stated: dict[str, Any]) -> None:
    """Tolerate nobody but the site that was missing, and state epsilon accordingly."""
    noise = SiteNoise.from_json(
        {name: stated["noise"][name] for name in ("noise_multiplier", "sites")} | {"tolerated": 1}
    )
    stated["noise"]["tolerated"] = 1
    found = observers(noise, Delta.parse(stated["sites"][0]["guarantee"]["delta"]), 3, 2)
    stated["epsilons"] = [ObservedFacts.of(one).to_fields() for one in found]


@pytest.mark.parametrize(
    ("name", "change", "step"),
    [
        ("average", lambda stated: stated["noise"].update(present=4), "Certificates and log"),
        ("average", lambda stated: [one["mechanisms"][0]["mechanism"].update(count=1) for one in stated["sites"]],
         "Certified figures"),
        ("average", lambda stated: stated["course"].update(rounds=1), "Certificates and log"),
        ("average", without_enough_noise, "Certified figures"),
        ("average", lambda stated: stated.update(protects=Protected.UPDATE.value), "Rounds"),
        ("model", lambda stated: stated["noise"].update(present=3), "Certified figures"),
        ("model", lambda stated: stated.update(protects=Protected.UPDATE.value), "Certified figures"),
    ],
)  # fmt: skip
def test_a_certificate_of_fewer_rounds_or_more_sites_is_found_out(
    made: House, request: pytest.FixtureRequest, tmp_path: Path, name: str, change: Any, step: str
) -> None:
    """Even signed by the gateway's own key."""
    story: Exported = request.getfixturevalue(name)
    assert story.judged_after(made, change, tmp_path / "bundle").step(step).locations


def test_what_was_held_is_the_price_of_the_ordered_plan(average: Exported) -> None:
    """Held and charged for less noise than was ordered, or for fewer rounds: documents and ledger are held together."""
    history = History()
    verify_log(Archive.open(average.bundle), average.trust, history.add)
    order = Order.read((average.bundle / "parties" / average.job / "order.json").read_bytes())
    assert [*ending_problems(Case(order, {}), history)] == [
        "what is held for release is not what the key holder concluded"
    ]
    noise = {**order.plan["noise"], "noise_multiplier": "9"}
    for changed in ({"noise": noise}, {"rounds": 3}):
        case = Case(replace(order, plan={**order.plan, **changed}), {})
        assert any("what was held" in problem for problem in ending_problems(case, history))


def test_released_weights_are_of_the_ordered_model(average: Exported) -> None:
    """Names, shapes, graph and length, and numbers throughout."""
    folder = average.bundle / "parties" / average.job
    case = Case(Order.read((folder / "order.json").read_bytes()), {})
    case.final = Final.read((folder / "final.json").read_bytes())
    weights = average.released("he-model.safetensors")
    assert [*state_problems(case, weights)] == []
    for other in (
        weights[:-4],
        weights + bytes(4),
        weights.replace(b"sha256:", b"sha257:"),
        weights[:-4] + b"\xff" * 4,
    ):
        assert [*state_problems(case, other)] == [
            "the released file does not hold weights of the model that was ordered"
        ]


@pytest.mark.parametrize(
    ("asked", "paid"), [(AVERAGE | {"rounds": 3}, 1), (MODEL, 1)], ids=["each-round", "the-first-pays-for-all"]
)
def test_a_job_cancelled_in_the_middle_pays_for_what_was_opened(
    made: House, hospitals: Hospitals, asked: dict[str, Any], paid: int
) -> None:
    """The rest of the hold returns: of an average the rounds that were never opened, of a model nothing."""
    job = str(hospitals.requested(**asked)["job"])
    for party in (hospitals.holder, *hospitals.sites[:2]):
        hospitals.turn(party)
    done(made["trainer"].post(f"/v1/jobs/{job}/cancel"))
    assert charged(made, job) == [[paid, paid]] * 4
    ended = [
        entry["fields"] for entry in made.log() if entry.get("correlation") == job and entry["type"] == "job:ended"
    ]
    assert [one["steps_started"] for one in ended] == [paid]


@pytest.mark.slow
def test_the_gateway_adds_what_came_in_time_where_owners_trust_it_to(
    made: House, hospitals: Hospitals, clock: ManualClock
) -> None:
    """Its sum is of the hospitals that answered while the round lasted; the job pays as it would without."""
    asked = {**AVERAGE, "dropouts": 1, "aggregation": "semi-honest-gateway"}
    job = str(hospitals.requested(**asked)["job"])
    for party in (hospitals.holder, *hospitals.sites[:3]):
        hospitals.turn(party)
    clock.advance(61)
    assert ring_all(made.gateway.on) == 1  # as a worker does of itself, every half minute
    while worker_of(made).step():
        pass
    ended = hospitals.play(job)
    assert ended["state"] == "finished", [party.told for party in hospitals.everybody]
    assert charged(made, job) == [[2, 2]] * 4
    summed = [entry["fields"] for entry in made.log() if entry["type"] == "sum:made"]
    assert [one["sites"] for one in summed] == [3, 4]


def test_updates_are_bounded_where_that_is_asked_for_and_weigh_what_the_request_says(
    made: House, hospitals: Hospitals
) -> None:
    """Quote, order and plan say the same; a site of less weight is priced alike."""
    asked = hospitals.body(**AVERAGE, bounded="update", weights=[1, 2, 3, 1])
    quote = done(made["trainer"].post("/v1/quotes", asked))["quote"]
    assert "update" in quote["privacy"]["protects"]
    job = str(done(made["trainer"].post("/v1/jobs", asked), 202)["job"])
    order = order_of(hospitals, job)
    assert [site.weight for site in order.sites] == order.plan["weights"] == [1, 2, 3, 1]
    done(made["trainer"].post(f"/v1/jobs/{job}/cancel"))
    refused(made["trainer"].post("/v1/quotes", hospitals.body(**AVERAGE, weights=[1, 2, 3, 1])), 422)


def test_a_quote_says_how_many_may_be_missing_and_what_that_costs(made: House, hospitals: Hospitals) -> None:
    """Noise for one who is missing and one who shares what it knows; epsilon is that of the fewest who answer."""
    quoted = [
        done(made["trainer"].post("/v1/quotes", hospitals.body(**AVERAGE, dropouts=dropouts)))["quote"]
        for dropouts in (0, 1)
    ]
    assert [one["privacy"]["dropouts"] for one in quoted] == [0, 1]
    assert [one["longest_seconds"] for one in quoted] == [360, 480]
    for one in quoted:
        against = {seen["observer"]: float(seen["epsilon"]) for seen in one["privacy"]["observers"]}
        assert 0.99 < against["one other site"] <= 1


def test_a_quote_says_whether_a_model_will_drown(made: House, hospitals: Hospitals) -> None:
    """By declared sizes alone, and by the noise of all sites; of an average nothing is said."""
    asked = [MODEL | {"epsilon": epsilon} for epsilon in ("8", "0.5", "0.02")]
    quoted = [done(made["trainer"].post("/v1/quotes", hospitals.body(**one)))["quote"] for one in (*asked, AVERAGE)]
    assert [one["privacy"]["feasibility"] for one in quoted] == ["likely", "doubtful", "hopeless", None]
    lines = dict(SitesQuote.read({"quote": quoted[2], "spec": {}, "request_digest": "sha256:0"}).lines())
    assert "drown" in str(lines["can it succeed"])
    assert lines["may be missing"] == "no site"
    assert str(lines["epsilon against one other site"]).endswith(f" at delta {quoted[2]['privacy']['delta']}")
    assert "declines after the job was admitted" in str(lines["result"])
    assert "the whole job is charged to every population" in str(lines["result"])


def test_no_check_of_a_report_finds_fault_with_any_of_it(made: House, model: Exported, average: Exported) -> None:
    """Rounds that ended, were cancelled or went on without a site: charged as started, by the report as well."""
    made.settle()
    report = done(made["auditor"].post("/v1/reports", {}), 201)["report"]
    body = made["auditor"].get(f"/v1/reports/{report}/files/report.json").json()
    assert [one["check"] for one in checks_of(body) if one["verdict"] == "fail"] == []


def checks_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What a report judged."""
    found: list[dict[str, Any]] = json.loads(base64.b64decode(body["payload"]))["checks"]
    return found
