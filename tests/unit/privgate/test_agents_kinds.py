"""Whole jobs of every kind between agents: what comes out is what the pooled rows would have given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.errors import CorruptError, InvalidError
from kernel.events import Parameter
from kernel.ids import Slug
from privacy.glm.families import Family
from privacy.graph.templates import ModelChoice
from privacy.graph.weights import unpack_weights
from privacy.homomorphic.averaging.course import asked_weights
from privacy.homomorphic.averaging.plan import Bounded, FederatedAverage
from privacy.homomorphic.documents.endings import Final
from privacy.homomorphic.documents.order import Outcome
from privacy.homomorphic.documents.places import Place
from privacy.homomorphic.documents.rounds import Round, RoundResult
from privacy.homomorphic.documents.signed import DocumentKind, Parcel
from privacy.homomorphic.glm.noised import NoisedGlm, read_noised_glm
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import SiteNoise
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.homomorphic.statistics.report import read_statistics
from privacy.jobs.asking import complete_query
from privacy.jobs.training_spec import Loss
from privacy.sealing.secret import SecretBytes
from privgate.agents import courses
from privgate.agents.courses import follows
from privgate.agents.noised_glm import NoisedGlmCourse
from privgate.agents.verifying import verify_home
from tests.support.consortium import PROFILE, SCHEMA, Consortium, Unconfined, features

NOISE = SiteNoise(sites=3, tolerated=1, noise_multiplier=Parameter("2"))


def artefact(of: Consortium, **changed: Any) -> dict[str, Any]:
    """Play a job to its end; what came of it."""
    final = of.play(of.carrier(**changed))
    assert final is not None, [(party.who.name, party.told) for party in of.everybody]
    found: dict[str, Any] = json.loads(Parcel.from_bytes(final).attachment)
    return found


def test_a_linear_model_is_the_pooled_one_after_one_round(tmp_path: Path) -> None:
    """Least squares over all rows in one place, by another program."""
    of = Consortium(tmp_path, Family.LINEAR)
    found = artefact(of)
    rows = [row for site in of.rows for row in site]
    ages, doses = (np.array([row[place] for row in rows], dtype=float) for place in (0, 1))
    slope, intercept = np.polyfit(ages, doses, 1)
    table = {line["term"]: float(line["coefficient"]) for line in found["table"]}
    assert table == pytest.approx({"(intercept)": intercept, "age": slope}, abs=1e-6)
    assert verify_home(of.holder.path).history.of(of.job).decryptions == 1


def test_statistics_are_exact_sums_of_all_sites(tmp_path: Path) -> None:
    """A histogram over three hospitals, in one round."""
    of = Consortium(tmp_path)
    found = artefact(of, **statistics())
    ill = sum(row[2] for site in of.rows for row in site)
    everybody = sum(len(site) for site in of.rows)
    assert sorted(int(n) for n in found["sums"][0]) == sorted([ill, everybody - ill])
    read_statistics(json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())


def test_a_cell_with_too_few_persons_is_declined(tmp_path: Path) -> None:
    """At one site of an exact result, before anything is encrypted (RULES 39)."""
    of = Consortium(tmp_path)
    file = tmp_path / "hospital-2.csv"
    lines = file.read_text(encoding="utf-8").splitlines()
    healthy = [line.rpartition(",")[0] + ",false" for line in lines[1:]]
    healthy[0] = healthy[0].replace(",false", ",true")
    file.write_text("\n".join([lines[0], *healthy]) + "\n", encoding="utf-8")
    of.attest(of.sites[1])
    assert of.play(of.carrier(**statistics())) is None
    assert of.why(of.sites[1]) == "persons"


def test_statistics_with_noise_are_not_the_exact_ones(tmp_path: Path) -> None:
    """And near to them."""
    of = Consortium(tmp_path)
    found = artefact(of, **statistics(NOISE))
    assert found["privacy"].startswith("noised")


@pytest.mark.parametrize(
    ("noise", "changed"),
    [
        (replace(NOISE, noise_multiplier=Parameter("0.4")), {}),
        (replace(NOISE, sites=4), {}),
        (NOISE, {"outcome": Outcome.EXACT}),
        (None, {"outcome": Outcome.NOISED}),
        (None, {"rounds_at_most": 2}),
    ],
    ids=["less-than-the-rules", "of-other-sites", "called-exact", "called-noised", "two-rounds"],
)
def test_noise_that_is_not_what_was_promised_is_refused(
    tmp_path: Path, noise: SiteNoise | None, changed: dict[str, Any]
) -> None:
    """By every party, before there is a key: nobody takes the gateway's word for the noise."""
    of = Consortium(tmp_path)
    carrier = of.carrier(**{**statistics(noise), **changed})
    assert of.play(carrier) is None
    assert {of.why(party) for party in of.everybody} == {"rules"}


@pytest.mark.parametrize("noise", [None, NOISE], ids=["exact", "noised"])
def test_a_model_is_averaged_in_rounds(tmp_path: Path, noise: SiteNoise | None) -> None:
    """Two rounds of gradients, or of updates, of three hospitals end in weights that moved from where they began."""
    of = Consortium(tmp_path)
    plan = average(noise)
    final = of.play(of.carrier(**plan))
    assert final is not None, [(party.who.name, party.told) for party in of.everybody]
    graph = FederatedAverage.from_json(plan["plan"]).checked.graph
    weights = unpack_weights(graph, Parcel.from_bytes(final).attachment)
    assert any(np.abs(array).max() > 0 for array in weights.values())
    assert verify_home(of.holder.path).history.of(of.job).decryptions == 2


def test_an_average_goes_on_from_the_weights_that_sites_were_asked_at(tmp_path: Path) -> None:
    """Weights that are drawn are drawn once: a round moves those that it asked at, each site by a clip at most."""
    of = Consortium(tmp_path)
    plan = average(None, hidden=[4], clip="0.001", rounds=1)
    carrier = of.carrier(**plan)
    final = of.play(carrier)
    assert final is not None, [(party.who.name, party.told) for party in of.everybody]
    computed = FederatedAverage.from_json(plan["plan"])
    released = unpack_weights(computed.checked.graph, Parcel.from_bytes(final).attachment)
    ended = np.concatenate([released[weight.name].reshape(-1) for weight in computed.checked.graph.weights])
    opened = Round.read(carrier.kept[Place(of.job, DocumentKind.ROUND, 1)])
    began = np.array(asked_weights(computed, opened.state))
    assert np.abs(began).max() > 0.01
    assert 0 < np.linalg.norm(ended - began) <= 0.0011


@pytest.mark.parametrize("when", ["before-answering", "after-answering"])
def test_a_site_that_is_missing_in_a_round_comes_back_in_the_next(tmp_path: Path, when: str) -> None:
    """Where the order allows one to be missing: the set is fixed at the deadline; who came late is left out once."""
    of = Consortium(tmp_path, counts=(60, 45, 80, 50))
    noise = replace(NOISE, sites=4, tolerated=2)
    carrier = of.carrier(**average(noise, sites=4), dropouts=1)
    *present, late = of.sites
    for party in (of.holder, *present):
        of.turn(party, carrier)
    if when == "after-answering":
        of.turn(late, carrier)
        place = next(place for place in carrier.kept if place.party == late.party)
        del carrier.kept[place]
    of.turn(of.holder, carrier)
    assert not [place for place in carrier.kept if place.kind == "result"]
    of.clock.advance(601)
    of.turn(of.holder, carrier)
    final = of.play(carrier)
    assert final is not None, [(party.who.name, party.told) for party in of.everybody]
    assert of.refused(carrier) == set()
    document = Final.read(Parcel.from_bytes(final).document)
    assert document.sites == tuple(site.party for site in present)
    last = RoundResult.read(carrier.kept[Place(of.job, DocumentKind.RESULT, 2)])
    assert late.party in last.sites
    assert verify_home(late.path).history.of(of.job).ended


def test_who_is_missing_and_who_is_curious_are_tolerated_together(tmp_path: Path) -> None:
    """Noise that is enough with one site missing is not enough when another one knows its own: refused."""
    of = Consortium(tmp_path, counts=(60, 45, 80, 50))
    assert of.play(of.carrier(**average(replace(NOISE, sites=4), sites=4), dropouts=1)) is None
    assert {of.why(party) for party in of.everybody} == {"rules"}


class Nothing(Unconfined):
    """After the first round, what is decrypted are sums that say to be over nobody."""

    def decrypt(self, layout: Layout, secret: SecretBytes, uploads: Sequence[bytes]) -> list[int]:
        sums = super().decrypt(layout, secret, uploads)
        return sums if len(self.decrypted) == 1 else [0, *sums[1:]]


def test_sums_that_give_no_result_end_the_job(tmp_path: Path) -> None:
    """A fit of rows that say to be none is no fit, whatever the other sums are."""
    of, confined = Consortium(tmp_path), Nothing()
    assert of.play(of.carrier(), confined=confined) is None
    assert of.why(of.holder) == "result"


@pytest.mark.parametrize("error", [InvalidError("no"), CorruptError("no"), OverflowError()])
def test_whatever_is_wrong_with_what_was_decrypted_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The same uploads are not decrypted again at every poll until the deadline."""
    of, confined = Consortium(tmp_path), Unconfined()

    def wrong(*_: object) -> None:
        raise error

    monkeypatch.setattr(courses, "advance", wrong)
    assert of.play(of.carrier(), confined=confined) is None
    assert of.why(of.holder) == "result"
    assert len(confined.decrypted) == 1


def test_a_model_with_noise_is_asked_for_each_step_once() -> None:
    """All steps are one Gaussian; a key holder that asks for the first one again would get it for nothing."""
    plan = NoisedGlm(family=Family.LOGISTIC, features=features("ill"), schema=SCHEMA, noise=NOISE)
    step = {one.name: [0] * one.size for one in plan.measurements(0)}
    assert (asks(plan, 1, {}), asks(plan, 2, step)) == (True, True)
    assert (asks(plan, 2, {}), asks(plan, 1, step), asks(plan, 2, {"age": [0]})) == (False, False, False)


def asks(plan: NoisedGlm, number: int, sums: dict[str, list[int]]) -> bool:
    """Whether a site takes that for the round's state."""
    course = object.__new__(NoisedGlmCourse)
    course._plan = plan
    return follows(course, number, {"sums": sums})


def test_an_average_that_weighs_sites_otherwise_than_the_order_is_refused(tmp_path: Path) -> None:
    """By every party: a plan's weights are those that owners saw."""
    of = Consortium(tmp_path)
    changed = average(None)
    changed["plan"] = changed["plan"] | {"weights": [1, 2, 1]}
    assert of.play(of.carrier(**changed)) is None
    assert {of.why(party) for party in of.everybody} == {"rules"}


def test_a_model_with_noise_ends_in_a_table_that_follows_from_its_sums(tmp_path: Path) -> None:
    """A round for each step; what is released is worked out again from the noisy sums alone."""
    of = Consortium(tmp_path)
    changed = noised_model(NOISE)
    final = of.play(of.carrier(**changed))
    assert final is not None, [(party.who.name, party.told) for party in of.everybody]
    assert read_noised_glm(Parcel.from_bytes(final).attachment)["privacy"].startswith("noised")
    assert verify_home(of.holder.path).history.of(of.job).decryptions == changed["rounds_at_most"]


def noised_model(noise: SiteNoise) -> dict[str, Any]:
    """What an order of a model with noise has: illness on age."""
    plan = NoisedGlm(family=Family.LOGISTIC, features=features("ill"), schema=SCHEMA, noise=noise)
    return {
        "kind": Slug("he.glm"),
        "plan": plan.to_json(),
        "outcome": Outcome.NOISED,
        "rounds_at_most": plan.rounds,
        "profile": PROFILE.name,
    }


def average(
    noise: SiteNoise | None, sites: int = 3, *, hidden: list[int] | None = None, clip: str = "1", rounds: int = 2
) -> dict[str, Any]:
    """What an order of averaging has: a logistic model of illness on age, by persons where there is noise."""
    model = {"template": "logistic"} if hidden is None else {"template": "mlp", "hidden": hidden, "activation": "tanh"}
    plan = FederatedAverage(
        features=features("ill"),
        schema=SCHEMA,
        model=ModelChoice.from_json(model),
        loss=Loss.LOGISTIC,
        bounded=Bounded.UPDATE if noise is None else Bounded.PERSON,
        clip=Parameter(clip),
        rounds=rounds,
        rate=Parameter("0.5"),
        weights=(1,) * sites,
        public_size=1 if noise is None else 100,
        local_steps=3 if noise is None else 1,
        noise=noise,
    )
    return {
        "kind": Slug("he.aggregate"),
        "plan": plan.to_json(),
        "outcome": Outcome.EXACT if noise is None else Outcome.NOISED,
        "rounds_at_most": rounds,
        "profile": PROFILE.name,
    }


def statistics(noise: SiteNoise | None = None) -> dict[str, Any]:
    """What an order of statistics has: how many are ill."""
    queries = complete_query({"kind": "histogram", "columns": ["ill"]}, SCHEMA)
    plan = FederatedStatistics(queries=tuple(queries), covariances=(), schema=SCHEMA, noise=noise)
    return {
        "kind": Slug("he.statistics"),
        "plan": plan.to_json(),
        "outcome": Outcome.EXACT if noise is None else Outcome.NOISED,
        "rounds_at_most": 1,
        "profile": PROFILE.name,
    }
