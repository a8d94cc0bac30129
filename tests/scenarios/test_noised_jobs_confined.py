"""Noised jobs of several rounds with every computation in a confined child of its own, as agents run them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from privacy.homomorphic.confined import Confined
from privgate.agents.agent import Agent
from privgate.agents.home import Home
from privgate.agents.keyholder.agent import KeyHolder
from privgate.agents.site.agent import Site
from privgate.agents.site.computing import Computing
from privgate.agents.site.datasets import SiteDatasets
from tests.support.consortium import Carrier, Consortium, Party
from tests.unit.privgate.test_agents_kinds import NOISE, average, noised_model


class Real(Consortium):
    """Nothing is left out: key holder and sites start their children."""

    def agent(self, party: Party, home: Home, carrier: Carrier, confined: Confined | None = None) -> Agent:
        """The agent of a party, in its opened home."""
        channel = carrier.channel(party.party)
        if party is self.holder:
            return KeyHolder(home, channel, self.clock, party.told.append, Confined())
        return Site(home, channel, self.clock, party.told.append, SiteDatasets(party.path), Computing())


@pytest.mark.slow
@pytest.mark.parametrize("order", [noised_model(NOISE), average(NOISE)], ids=["model", "average"])
def test_a_noised_job_ends_with_all_of_it_in_children(tmp_path: Path, order: dict[str, Any]) -> None:
    """Gradients by torch, sums and noise at the site, decryption at the key holder: each under its limits."""
    of = Real(tmp_path)
    assert of.play(of.carrier(**order)) is not None, [(party.who.name, party.told) for party in of.everybody]
    assert {of.why(party) for party in of.everybody} == {None}
