"""Blind training with gateway, worker and site as processes over mutual TLS; the site's power is cut on the way."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privacy.homomorphic.blind.spec import BlindPlan
from privgate.demo.consortium.agents import Agent
from privgate.demo.processes import LocalGateway
from privgate.demo.scenes import UNTIL
from privgate.sdk import Gateway, connect
from tests.support.blind import columns_of, plain_weights
from tests.support.consortium import SCHEMA, rows_of

PATIENCE_SECONDS = 240.0
SETTINGS = {"PRIVGATE_PARTY_PORT": "0", "PRIVGATE_TICK_SECONDS": "1"}


def enrolled(local: LocalGateway, folder: Path) -> tuple[Gateway, str, Agent]:
    """An owner who is a trainer as well, signed in, and the agent of his site with the gateway's keys pinned."""
    admin = connect(url=local.url, token=local.admin_token, authority=local.authority)
    admin.define_purpose("research")
    trust, given = admin.trust(), admin.enrol("hospital", "owner")
    admin.connection.post(f"/v1/principals/{given.principal}/roles", {"role": "trainer"})
    owner = connect(url=local.url, token=given.token, authority=local.authority, trust=trust)
    agent = Agent("site", "hospital", folder / "hospital")
    agent.init()
    (folder / "trust.json").write_bytes(trust.to_bytes())
    agent.run("trust", str(folder / "trust.json"))
    agent.enrol(local.url, local.home / "tls" / "ca.pem", given.token, local.party_url)
    agent.run("rules", "--kind", "he.blind-logistic", "--requests", "allowed")
    return owner, given.principal, agent


def declared(owner: Gateway, principal: str, agent: Agent) -> str:
    """A dataset whose rows stay at the site, with a grant of the owner to himself."""
    file = agent.folder / "patients.csv"
    lines = [f"{age},{dose},{str(ill).lower()}" for age, dose, ill in rows_of(5, 60)]
    file.write_text("\n".join(["age,dose,ill", *lines]) + "\n", encoding="utf-8")
    population = owner.create_population(
        unit_noun="patient", unit_domain="patients-of-hospital", public_size=200, epsilon="8", delta="0.000001"
    )
    body: dict[str, Any] = {
        "title": "Patients",
        "population": population.population,
        "schema": SCHEMA.to_json(),
        "unit": {"kind": "record", "noun": "patient"},
        "sensitivity": "confidential",
        "purposes": ["research"],
        "legal_basis": "gdpr-6-1-e-public-task",
        "retention_until": UNTIL,
        "site": agent.party,
    }
    dataset: str = owner.connection.post("/v1/datasets", body)["dataset"]
    declaration = agent.folder / "declaration.json"
    declaration.write_text(json.dumps(body), encoding="utf-8")
    agent.run("dataset", dataset, str(declaration), str(file))
    agent.run("attest", dataset)
    grant = {"principal": principal, "dataset": dataset, "purpose": "research", "until": UNTIL}
    owner.connection.post(
        "/v1/grants", grant | {"job_kinds": ["he.blind-logistic"], "obligations": {"trainer_share": "1"}}
    )
    return dataset


@pytest.mark.slow
def test_a_site_trains_blindly_over_mutual_tls_and_through_a_power_cut(tmp_path: Path) -> None:
    """The model that its people read out at the end is that of training in the clear, and its log verifies."""
    with LocalGateway(tmp_path / "gateway", tmp_path / "output", SETTINGS) as local:
        owner, principal, agent = enrolled(local, tmp_path)
        request = {
            "kind": "he.blind-logistic",
            "dataset": declared(owner, principal, agent),
            "purpose": "research",
            "rows": 100,
            "outcome": "ill",
            "predictors": ["age", "dose"],
            "epochs": 3,
            "rate": "4",
        }
        assert "Experimental" in str(owner.quote_sites(request).lines())
        job = owner.submit(request)
        agent.run("allow", job.request_digest)
        agent.start()
        try:
            state = followed(owner, job.job, agent)
        finally:
            agent.stop()
            owner.close()
        assert state == "finished", agent.told()
        out = tmp_path / "model.json"
        agent.run("model", job.job, "--out", str(out))
        assert "age" in agent.run("model", job.job)
    assert out.stat().st_mode & 0o077 == 0, "it is exact: it is its owner's to show"
    model = json.loads(out.read_bytes())
    weights = np.array([float.fromhex(one) for one in model["weights"]])
    plain = plain_weights(BlindPlan.from_json(model["plan"]), columns_of(rows_of(5, 60)))
    assert np.abs(weights - plain).max() < 1e-3
    assert agent.log()["decryptions"] in (3, 4), "one that had begun when the power went is begun again"


def followed(owner: Gateway, job: str, agent: Agent) -> str:
    """How the job ends; in its second epoch the site is switched off and on."""
    begun, cut, state = time.monotonic(), False, "collecting"
    while state == "collecting" and time.monotonic() < begun + PATIENCE_SECONDS:
        papers = agent.home / "jobs" / job
        if not cut and (papers / "weights-2").exists():
            agent.switch_off()
            agent.start()
            cut = True
        agent.check()
        state = str(owner.connection.get(f"/v1/jobs/{job}")["state"])
        time.sleep(0.2)
    assert cut
    return state
