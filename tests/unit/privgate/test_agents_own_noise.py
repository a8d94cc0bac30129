"""A key holder that adds noise: drawn once for a round, kept before anything is decrypted, in all that leaves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernel import canonical
from kernel.errors import UnavailableError
from kernel.events import Parameter
from privacy.homomorphic.documents.order import Aggregation, Outcome
from privacy.homomorphic.documents.signed import Parcel
from privacy.homomorphic.layout import Layout
from privacy.homomorphic.noise import NoiseBy, SiteNoise, units_of
from privacy.homomorphic.registry import profile_of
from privacy.homomorphic.statistics.plan import FederatedStatistics
from privacy.sealing.secret import SecretBytes
from privgate.agents.rules import Rules
from tests.support.adding_gateways import adding
from tests.support.consortium import Carrier, Consortium, Unconfined
from tests.unit.privgate.test_agents_kinds import statistics

WIDE = profile_of("bfv-8192-public")
NOISE = SiteNoise(
    sites=3,
    tolerated=0,
    noise_multiplier=Parameter("4"),
    by=NoiseBy.GATEWAY_AND_KEY_HOLDER,
    aggregation=Aggregation.GATEWAY,
)
ORDER: dict[str, Any] = {"profile": WIDE.name, "profile_digest": WIDE.digest}
BOTH = Rules(outcomes=(Outcome.NOISED,), aggregation=tuple(Aggregation), noise_by=tuple(NoiseBy))


@pytest.fixture
def consortium(tmp_path: Path) -> Consortium:
    """Three hospitals and a key holder, who trust gateway and key holder with the noise."""
    made = Consortium(tmp_path)
    for party in made.everybody:
        with party.home(made.clock) as home:
            home.allow(BOTH)
    return made


class Dying(Unconfined):
    """Dies with the first decryptions begun."""

    def __init__(self, deaths: int) -> None:
        super().__init__()
        self.deaths = deaths

    def decrypt_sum(self, layout: Layout, secret: SecretBytes, total: bytes) -> list[int]:
        if self.deaths:
            self.deaths -= 1
            raise UnavailableError("the machine went down")
        return super().decrypt_sum(layout, secret, total)


def kept_noise(of: Consortium) -> list[int]:
    """What the key holder drew for the first round."""
    with of.holder.home(of.clock) as home:
        sealed = home.papers_of(of.job).get("noise-1")
        assert sealed is not None
        drawn = home.vault.open(sealed, kind="noise", job=of.job, round="1").reveal()
    return [int(one) for one in canonical.decode(drawn, limit=2**20)]


def test_what_leaves_is_the_sum_with_the_noise_that_was_kept_before_the_decryption(consortium: Consortium) -> None:
    """Killed after the noise was drawn, and again: the same noise, in the released sums to the last step."""
    carrier, confined = adding(consortium, **(statistics(NOISE) | ORDER)), Dying(2)
    for _ in range(3):
        for party in consortium.everybody:
            consortium.turn(party, carrier, confined=confined)
    noise = kept_noise(consortium)
    for party in consortium.everybody:
        consortium.turn(party, carrier, confined=Dying(1))
    assert kept_noise(consortium) == noise
    final = consortium.play(carrier, confined=confined)
    assert final is not None, [party.told for party in consortium.everybody]
    assert confined.deaths == 0
    with consortium.holder.home(consortium.clock) as home:
        assert home.papers_of(consortium.job).get("noise-1") is None  # destroyed with the key
    found = json.loads(Parcel.from_bytes(final).attachment)
    assert found["privacy"].startswith("noised: gateway and key holder")
    plan = FederatedStatistics.from_json(found["plan"])
    (vector,) = plan.vectors
    steps = plan.refinement(vector)
    ill = sum(row[2] for site in consortium.rows for row in site)
    exact = [sum(map(len, consortium.rows)) - ill, ill]
    # The sites gave exact numbers, and this gateway added none of its noise: the rest is the key holder's.
    released = [units_of(one * steps + added, steps) for one, added in zip(exact, noise, strict=True)]
    assert [int(one) for one in found["sums"][0]] == released
    assert any(noise)


@pytest.mark.parametrize("who", ["holder", "site"])
def test_noise_by_others_than_the_rules_trust_is_refused(consortium: Consortium, who: str) -> None:
    """By each for itself, before there is a key or an upload."""
    party = consortium.holder if who == "holder" else consortium.sites[1]
    with party.home(consortium.clock) as home:
        home.allow(replace(BOTH, noise_by=(NoiseBy.SITES,)))
    assert consortium.play(adding(consortium, **(statistics(NOISE) | ORDER))) is None
    assert (consortium.why(party), "noise_by" in party.told[-1]) == ("rules", True)


def test_a_plan_whose_noise_others_add_than_the_request_says_is_refused(consortium: Consortium) -> None:
    """A gateway that orders noise by two where owners approved noise by the sites, or the other way round."""
    by_sites = replace(NOISE, by=NoiseBy.SITES, tolerated=1)
    asked = consortium.order(**(statistics(by_sites) | ORDER)).spec
    carrier = consortium.carrier(**(statistics(NOISE) | ORDER), spec=asked)
    assert consortium.play(carrier) is None
    assert {consortium.why(party) for party in consortium.everybody} == {"rules"}


def test_a_profile_without_room_is_refused_by_every_agent(consortium: Consortium) -> None:
    """Whatever the gateway let pass: how a sum came about would not be hidden."""
    narrow = profile_of("bfv-4096-public")
    order = statistics(NOISE) | {"profile": narrow.name, "profile_digest": narrow.digest}
    assert consortium.play(consortium.carrier(**order)) is None
    assert {consortium.why(party) for party in consortium.everybody} == {"profile"}


class Killed(BaseException):
    """The agent is gone."""


def test_all_noise_is_destroyed_however_often_an_agent_dies_over_it(consortium: Consortium) -> None:
    """Of every round, also when it is killed between two of them: the next start finds what is left."""
    confined, carrier = Unconfined(), Carrier(b"", consortium.job)
    rounds = range(1, 4)

    def dying(name: str) -> None:
        if name == "papers-drop:after-directory-fsync":
            raise Killed

    with consortium.holder.home(consortium.clock) as home:
        for number in rounds:
            home.papers_of(consortium.job).put(f"noise-{number}", b"sealed")
    for _ in rounds:
        with consortium.holder.home(consortium.clock, dying) as home, pytest.raises(Killed):
            consortium.agent(consortium.holder, home, carrier, confined)._ended(home.papers_of(consortium.job))
    with consortium.holder.home(consortium.clock) as home:
        assert [home.papers_of(consortium.job).get(f"noise-{number}") for number in rounds] == [None] * len(rounds)
