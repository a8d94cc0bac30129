"""Sites and key holders: enrolled by their owners, known by their certificates, and rows that never come here."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from kernel.signing import Ed25519Signer
from privacy.homomorphic.documents.parties import PartyKind
from tests.support.api import House, dataset_body, done, grant_body, house, job_body, population_body, refused, rows_csv
from tests.support.parties import Agent, Channel, enrolled
from tests.support.processes import Home, stop


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A gateway with its people."""
    with house(tmp_path_factory.mktemp("parties") / "home") as running:
        done(running["admin"].post("/v1/purposes", {"purpose": "research"}), 201)
        done(running["admin"].post("/v1/purposes", {"purpose": "research/oncology", "within": ["research"]}), 201)
        yield running


def of_a_site(made: House, owner: str, site: str) -> dict[str, object]:
    """A dataset whose rows stay with a site."""
    population = done(made[owner].post("/v1/populations", population_body()), 201)["population"]
    answer: dict[str, object] = done(made[owner].post("/v1/datasets", dataset_body(population, site=site)), 201)
    return answer


def test_a_party_is_enrolled_once_with_its_identity_and_a_certificate(made: House) -> None:
    """The certificate is of the key that the request proves; a name or an identity that is taken is refused."""
    agent = enrolled(made, "owner", "north", PartyKind.SITE)
    shown = done(made["trainer"].get("/v1/parties"))
    (mine,) = [party for party in shown if party["party"] == agent.party]
    assert (mine["kind"], mine["name"], mine["fingerprint"]) == ("site", "north", agent.who.fingerprint)
    assert mine["certificate"] is None
    refused(made["owner"].post("/v1/parties", Agent.made("north", PartyKind.SITE).body), 409)
    again = agent.body | {"identity": agent.who.to_json() | {"name": "other"}}
    done(made["owner"].post("/v1/parties", again), 201)  # another name is another identity
    refused(made["other-owner"].post("/v1/parties", agent.body), 409)
    wrong = agent.body | {"request": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----"}
    refused(made["owner"].post("/v1/parties", wrong), 422)
    logged = [e["fields"] for e in made.log() if e["type"] == "party:enrolled" and e["fields"]["party"] == agent.party]
    assert [(f["name"], f["fingerprint"], f["certificate"]) for f in logged] == [
        ("north", agent.who.fingerprint, agent.digest)
    ]


def test_a_dataset_of_a_site_gets_its_version_by_the_sites_word_alone(made: House) -> None:
    """Its owner's own site signs for the declared schema; nothing can be uploaded, and no other job reads it."""
    agent = enrolled(made, "owner", "south", PartyKind.SITE)
    other = enrolled(made, "other-owner", "stranger", PartyKind.SITE)
    dataset = of_a_site(made, "owner", agent.party)
    identifier, channel = dataset["dataset"], Channel(made)
    refused(made["owner"].put(f"/v1/datasets/{identifier}/content", content=rows_csv()), 409)
    path = f"/parties/v1/datasets/{identifier}/attestation"
    refused(channel.as_(other).put(path, content=other.attestation(dataset)), 404)
    forged = Agent(agent.name, agent.kind, Ed25519Signer.generate(os.urandom), agent.sealing, agent.key, agent.party)
    refused(channel.as_(agent).put(path, content=forged.attestation(dataset)), 422)
    elsewhere = dataset | {"table": {"columns": dataset["table"]["columns"][:1]}}  # type: ignore[index]
    refused(channel.as_(agent).put(path, content=agent.attestation(elsewhere)), 422)
    refused(channel.as_(None).put(path, content=agent.attestation(dataset)), 401)
    first = done(channel.as_(agent).put(path, content=agent.attestation(dataset)), 201)["version"]
    assert done(channel.as_(agent).put(path, content=agent.attestation(dataset)), 201)["version"] == first
    second = done(channel.as_(agent).put(path, content=agent.attestation(dataset, b"more rows")), 201)["version"]
    shown = done(made["owner"].get(f"/v1/datasets/{identifier}"))
    assert (shown["state"], shown["site"], second != first) == ("sealed", agent.party, True)
    assert done(made["owner"].get(f"/v1/datasets/{identifier}/versions/{second}"))["rows"] is None
    done(made["owner"].post("/v1/grants", grant_body(made["trainer"].principal, identifier)), 201)
    refused(made["trainer"].post("/v1/jobs", job_body(identifier)), 409)


def test_a_site_is_its_owners_and_a_population_is_kept_in_one_place(made: House) -> None:
    """Another owner's site, a key holder, and a second custody for the same people are refused."""
    mine = enrolled(made, "owner", "west", PartyKind.SITE)
    theirs = enrolled(made, "other-owner", "east", PartyKind.SITE)
    holder = enrolled(made, "owner", "holder", PartyKind.KEYHOLDER)
    population = done(made["owner"].post("/v1/populations", population_body()), 201)["population"]
    refused(made["owner"].post("/v1/datasets", dataset_body(population, site=theirs.party)), 422)
    refused(made["owner"].post("/v1/datasets", dataset_body(population, site=holder.party)), 404)
    done(made["owner"].post("/v1/datasets", dataset_body(population, site=mine.party)), 201)
    refused(made["owner"].post("/v1/datasets", dataset_body(population)), 409)


def test_a_disabled_party_gets_no_further(made: House) -> None:
    """Its owner ends its access: from the next request on its certificate is nobody's; twice is refused."""
    agent = enrolled(made, "owner", "gone", PartyKind.SITE)
    dataset = of_a_site(made, "owner", agent.party)
    path = f"/parties/v1/datasets/{dataset['dataset']}/attestation"
    done(Channel(made).as_(agent).put(path, content=agent.attestation(dataset)), 201)
    refused(made["other-owner"].delete(f"/v1/parties/{agent.party}"), 403)
    assert done(made["owner"].delete(f"/v1/parties/{agent.party}"))["disabled"] is True
    refused(made["owner"].delete(f"/v1/parties/{agent.party}"), 409)
    refused(Channel(made).as_(agent).put(path, content=agent.attestation(dataset, b"other")), 401)


def connected(home: Home, port_file: Path, folder: Path, agent: Agent | None) -> httpx2.Client:
    """A client of the second listener, with or without an agent's certificate."""
    context = ssl.create_default_context(cafile=str(home.path / "tls" / "ca.pem"))
    if agent is not None:
        chain = folder / f"{agent.name}.pem"
        chain.write_bytes(agent.certificate.encode("ascii") + agent.key_pem())
        context.load_cert_chain(chain)
    port = port_file.read_text(encoding="ascii").strip()
    return httpx2.Client(base_url=f"https://localhost:{port}", verify=context, trust_env=False)


def test_the_second_listener_demands_the_certificate_of_a_party_over_real_tls(tmp_path: Path) -> None:
    """Real processes: no certificate and a foreign one end in the handshake, a party's own reaches the routes; SIGTERM
    ends both listeners with 0.
    """
    ports = tmp_path / "party-port"
    home = Home(tmp_path, {"PRIVGATE_PARTY_PORT": "0"})
    home.init()
    with home.process("serve", "--port-file", str(home.port_file), "--party-port-file", str(ports)) as api:
        home.await_("serve", api, lambda: home.port_file.exists() and ports.exists())
        with home.client(token=home.token) as admin:
            token = admin.post("/v1/principals", json={"name": "Owner"}).json()
            admin.post(f"/v1/principals/{token['principal']}/roles", json={"role": "owner"})
        agent, stranger = Agent.made("site", PartyKind.SITE), Agent.made("stranger", PartyKind.SITE)
        with home.client(token=token["token"]) as owner:
            key = {"Idempotency-Key": "enrol-a-party"}
            answer = owner.post("/v1/parties", json=agent.body, headers=key)
            assert answer.status_code == 201, answer.text
            agent.party, agent.certificate = answer.json()["party"], answer.json()["certificate"]
        stranger.certificate = agent.certificate
        path = f"/parties/v1/datasets/dst_{'a' * 26}/attestation"
        with connected(home, ports, tmp_path, agent) as client:
            assert client.put(path, content=b"x").status_code == 404
            assert client.get("/v1/self").status_code == 404
        with connected(home, ports, tmp_path, None) as client, pytest.raises(httpx2.TransportError):
            client.put(path, content=b"x")
        with pytest.raises(ssl.SSLError):
            connected(home, ports, tmp_path, stranger)  # a certificate without its key
        assert (stop(api), home.port_file.exists(), ports.exists()) == (0, False, False)
    events = [json.loads(line)["event"] for line in home.log("serve").splitlines()]
    assert [events.count(name) for name in ("listening", "listening-for-parties", "stopped")] == [1, 1, 1]
