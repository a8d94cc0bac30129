"""Evidence of a noised job whose uploads the gateway added, told otherwise than it happened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.test_forged_documents import OTHER, SIGNATURE, Tell, first_added, judged, said, with_members
from tests.support.api import done, house
from tests.support.forged_documents import Evidence, Members, evidence_of
from tests.support.forgeries import Story, forge
from tests.support.hospitals import Hospitals

NOISED: dict[str, Any] = {
    "result": "noised",
    "epsilon": "1",
    "family": "linear",
    "outcome": "dose",
    "aggregation": "semi-honest-gateway",
}


@pytest.fixture(scope="module")
def noised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """A model with noise, whose uploads the gateway added."""
    with house(tmp_path_factory.mktemp("noised") / "home") as made:
        hospitals = Hospitals(made, tmp_path_factory.mktemp("hospitals"), (12, 11, 14), exact=False)
        job = hospitals.requested(**NOISED)
        for site in hospitals.sites:
            if job["state"] == "awaiting-approval":
                job = done(hospitals.answer(site.owner, job))
        yield evidence_of(made, hospitals, job["job"], tmp_path_factory.mktemp("evidence"))


@pytest.mark.slow
def test_a_noised_job_s_documents_hold_with_the_gateway_s_sums(noised: Evidence) -> None:
    """Its rounds showed the sites the noisy sums that the released file lists, and it was charged."""
    verdict = judged(noised, noised.cycle.bundle)
    assert [(step.title, said(step)) for step in verdict.steps if step.locations and step.title != "Report"] == []
    assert (noised.cycle.bundle / noised.file("sum-1")).exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change", "signer", "words"),
    [
        ("sum-1", with_members(), "holder", SIGNATURE),
        ("sum-1", first_added, "gateway", "it adds other uploads than the gateway said it added"),
        ("sum-1", with_members(key=OTHER), "gateway", "it is a sum of another round, or under another key"),
        ("sum-1", with_members(layout=OTHER), "gateway", "it is a sum of another job, order or layout"),
        ("round-2", with_members(state=OTHER), "holder", "or showed them other sums"),
    ],
)
def test_a_sum_or_a_state_that_tells_another_story_is_found(
    noised: Evidence, tmp_path: Path, name: str, change: Tell, signer: str, words: str
) -> None:
    """The gateway signs its sums; which uploads it added has to be what the key holder says as well."""
    verdict = judged(noised, noised.told(tmp_path / "forged", name, change, signer))
    assert words in said(verdict.step("Rounds")), [(s.title, said(s)) for s in verdict.steps if s.locations]


def uncharged(story: Story) -> None:
    """One population is not charged."""
    story.remove(story.first("budget:charged"))


def less_noise(body: Members) -> Members:
    """An order with less noise than its request asks for."""
    noise = body["plan"]["noise"] | {"noise_multiplier": "0.5"}
    return body | {"plan": body["plan"] | {"noise": noise}}


@pytest.mark.slow
def test_what_was_not_charged_or_is_less_noisy_than_asked_is_found(noised: Evidence, tmp_path: Path) -> None:
    """Every population pays for the rounds; the plan's noise is worked out again from the request."""
    verdict = judged(noised, forge(noised.cycle, tmp_path / "uncharged", uncharged))
    assert "a population of its sites was not charged" in said(verdict.step("Rounds"))
    verdict = judged(noised, noised.told(tmp_path / "less", "order", less_noise, "gateway"))
    assert "its plan does not follow from its request" in said(verdict.step("Orders"))
