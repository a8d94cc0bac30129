"""A certificate that is renewed by its owner's command and taken up by the agent, over real TLS."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privgate.demo.consortium.agents import Agent
from privgate.demo.processes import LocalGateway
from privgate.sdk import connect


@pytest.mark.slow
def test_an_agent_takes_up_what_its_owner_renewed_over_mutual_tls(tmp_path: Path) -> None:
    """The listener takes both certificates until the new one was used; its number and identity stay."""
    with LocalGateway(tmp_path / "gateway", tmp_path / "output", {"PRIVGATE_PARTY_PORT": "0"}) as local:
        with connect(url=local.url, token=local.admin_token, authority=local.authority) as admin:
            given = admin.enrol("hospital", "owner")
        agent = Agent("site", "hospital", tmp_path / "hospital")
        agent.init()
        agent.enrol(local.url, local.home / "tls" / "ca.pem", given.token, local.party_url)
        agent.run("run", "--once")
        before = json.loads((agent.home / "party.json").read_bytes())
        agent.run("renew")
        waiting = json.loads((agent.home / "party-next.json").read_bytes())
        agent.run("run", "--once")
        after = json.loads((agent.home / "party.json").read_bytes())
        assert (after, after["party"], after["key"]) == (waiting, before["party"], "tls-2")
        assert after["certificate"] != before["certificate"]
        assert not (agent.home / "party-next.json").exists()
        assert [file.name for file in agent.home.glob("tls*")] == ["tls-2.sealed"]
        agent.run("run", "--once")
        with connect(url=local.url, token=given.token, authority=local.authority) as owner:
            (shown,) = owner.parties
            assert (shown.party, shown.disabled, bool(shown.connection_until)) == (agent.party, False, True)
