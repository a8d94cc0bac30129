"""A consortium at a real gateway: hospitals with agents and a key holder; everything runs except the listener's socket.

The agents are those of `privgate.agents`, with homes on disk and real ciphertexts; only their sandbox is left out, so
that a test costs no process for each round (`tests.support.consortium`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from starlette.testclient import TestClient

from audit.trust import TrustFile
from gateway.channel.app import create_channel
from gateway.channel.peer import PEER
from kernel import canonical
from kernel.canonical import Digest
from kernel.clock import Clock, SystemClock
from kernel.errors import ConflictError, UnavailableError
from kernel.ids import DatasetId, JobId, PartyId, PopulationId, Slug
from privacy.homomorphic.documents.order import Aggregation, Outcome
from privacy.homomorphic.documents.parties import Identity, PartyKind
from privacy.homomorphic.documents.places import DATASETS, WORK, Place
from privacy.homomorphic.noise import NoiseBy
from privacy.ingest.formats import UploadFormat
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.secret import SecretBytes
from privgate.agents.agent import Agent
from privgate.agents.home import Enrolment, Home
from privgate.agents.keyholder.agent import KeyHolder
from privgate.agents.requesting import certificate_request
from privgate.agents.rules import Rules
from privgate.agents.site.agent import Site
from privgate.agents.site.attesting import attestation, commitment
from privgate.agents.site.datasets import SiteDataset, SiteDatasets
from tests.support.api import House, dataset_body, done, grant_body, population_body, worker_of
from tests.support.consortium import SCHEMA, UNIT, Inline, Unconfined, rows_of
from tests.support.exports import file_of

PURPOSE = "research/oncology"
RULES = Rules(outcomes=(Outcome.EXACT, Outcome.NOISED), aggregation=tuple(Aggregation), noise_by=tuple(NoiseBy))
MODEL: dict[str, Any] = {
    "kind": "he.glm",
    "purpose": PURPOSE,
    "result": "exact",
    "family": "logistic",
    "outcome": "ill",
    "predictors": ["age"],
}


class _Connected:
    """The channel's app behind the connections of one client."""

    def __init__(self, app: Any, peer: str) -> None:
        self._app, self._peer = app, peer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope[PEER] = self._peer
        await self._app(scope, receive, send)


@dataclass
class Wire:
    """What one party sees of the gateway: the channel that agents ask for, over the app itself."""

    client: TestClient

    def work(self) -> Sequence[JobId]:
        """The jobs of this party."""
        return [JobId(job) for job in done(self.client.get(WORK))["jobs"]]

    def fetch(self, place: Place) -> bytes | None:
        """The document at a place."""
        answer = self.client.get(place.path)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        return bytes(answer.content)

    def post(self, place: Place, data: bytes) -> None:
        """Leave a document."""
        answer = self.client.put(place.path, content=data)
        if answer.status_code == 409:
            raise ConflictError(answer.text)
        if answer.status_code != 201:
            raise UnavailableError(answer.text)


@dataclass
class Party:
    """One agent with its home."""

    name: str
    owner: str
    path: Path
    key: KeyFile
    who: Identity
    party: PartyId
    wire: Wire
    dataset: dict[str, Any] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=SystemClock)

    def home(self) -> Home:
        """Open it."""
        return Home(self.path, self.key, os.urandom, self.clock)


class Hospitals:
    """Owners, sites and a key holder at a running house, pinned to each other, with grants for the trainer.

    Args:
        made: The house; its people are enrolled here.
        folder: Where homes and files lie.
        counts: How many patients each hospital has.
        exact: Whether owners let exact results leave.
        clock: Of the agents.
    """

    def __init__(
        self,
        made: House,
        folder: Path,
        counts: Sequence[int] = (60, 45, 80),
        *,
        exact: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self.made, self.folder, self.clock = made, folder, clock or SystemClock()
        done(made["admin"].post("/v1/purposes", {"purpose": "research"}), 201)
        done(made["admin"].post("/v1/purposes", {"purpose": PURPOSE, "within": ["research"]}), 201)
        for name in ("lab", *(f"owner-{number}" for number in range(1, len(counts) + 1))):
            made.enrol(name, "owner")
        self.holder = self.enrolled("holder", "lab", PartyKind.KEYHOLDER)
        self.rows = [rows_of(seed, count) for seed, count in enumerate(counts, start=1)]
        self.sites = [self._site(number, exact=exact) for number in range(1, len(counts) + 1)]
        trust = TrustFile.from_bytes(canonical.encode(done(made["auditor"].get("/v1/trust"))["trust"]))
        for one in self.everybody:
            with one.home() as home:
                home.trust_gateway(trust)
                home.allow(
                    Rules(
                        outcomes=(Outcome.EXACT, Outcome.NOISED),
                        aggregation=tuple(Aggregation),
                        noise_by=tuple(NoiseBy),
                    )
                )
                for other in self.everybody:
                    if other is not one:
                        home.trust(other.who)

    @property
    def everybody(self) -> list[Party]:
        """Key holder and sites."""
        return [self.holder, *self.sites]

    @property
    def datasets(self) -> list[str]:
        """The numbers of the sites' datasets."""
        return [site.dataset["dataset"] for site in self.sites]

    def body(self, **changes: Any) -> dict[str, Any]:
        """A request for a model over all of them."""
        spec = MODEL | {"datasets": self.datasets, "key_holder": str(self.holder.party)} | changes
        return {"spec": {name: value for name, value in spec.items() if value is not None}}

    def requested(self, **changes: Any) -> dict[str, Any]:
        """A job that waits for approvals."""
        answer: dict[str, Any] = done(self.made["trainer"].post("/v1/jobs", self.body(**changes)), 202)
        return answer

    def answer(self, who: str, job: dict[str, Any], verdict: str = "approved") -> Any:
        """Somebody's answer to a job."""
        body = {"verdict": verdict, "request_digest": job["request_digest"]}
        return self.made[who].post(f"/v1/jobs/{job['job']}/approval", body)

    def admitted(self, **changes: Any) -> dict[str, Any]:
        """A job that everybody has approved."""
        job = self.requested(**changes)
        for site in self.sites:
            assert done(self.answer(site.owner, job))["state"] == "awaiting-approval"
        after: dict[str, Any] = done(self.answer("checker", job))
        assert after["state"] == "collecting", after
        return after

    def agent(self, party: Party, home: Home) -> Agent:
        """The agent of a party, in its opened home."""
        if party is self.holder:
            return KeyHolder(home, party.wire, self.clock, party.told.append, Unconfined())
        return Site(home, party.wire, self.clock, party.told.append, SiteDatasets(party.path), Inline())

    def turn(self, party: Party) -> None:
        """One life of an agent: its home is opened, it polls once, and ends."""
        with party.home() as home:
            self.agent(party, home).poll()

    def play(self, job: str, turns: int = 40) -> dict[str, Any]:
        """Everybody polls in turn until the job has ended; how it then stands."""
        for _ in range(turns):
            for party in self.everybody:
                self.turn(party)
            while worker_of(self.made).step():
                pass
            found: dict[str, Any] = done(self.made["trainer"].get(f"/v1/jobs/{job}"))
            if found["state"] != "collecting":
                return found
        raise AssertionError([party.told for party in self.everybody])

    def enrolled(self, name: str, owner: str, kind: PartyKind) -> Party:
        """An agent with a home, that its owner enrolled."""
        path, key = self.folder / name, KeyFile(SecretBytes(os.urandom(32)))
        who = Home.create(path, kind, Slug(name), key, os.urandom)
        with Home(path, key, os.urandom, self.clock) as home:
            request = certificate_request(home.tls_key, who.name)
            answer = done(self.made[owner].post("/v1/parties", {"identity": who.to_json(), "request": request}), 201)
            party, certificate = PartyId(answer["party"]), answer["certificate"]
            home.enrol(Enrolment(party=party, url="https://127.0.0.1:1", authority="", certificate=certificate))
        return Party(name, owner, path, key, who, party, self._wire(certificate), clock=self.clock)

    def _wire(self, certificate: str) -> Wire:
        der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(serialization.Encoding.DER)
        app = create_channel(self.made.client.app.state.privgate)  # type: ignore[attr-defined]  # a FastAPI app
        connected = _Connected(app, str(Digest.of(der)))
        return Wire(TestClient(connected, base_url="https://gateway.test", raise_server_exceptions=False))

    def _site(self, number: int, *, exact: bool) -> Party:
        owner = f"owner-{number}"
        party = self.enrolled(f"hospital-{number}", owner, PartyKind.SITE)
        population = done(self.made[owner].post("/v1/populations", population_body()), 201)["population"]
        declared = dataset_body(population, schema=SCHEMA.to_json(), unit=UNIT.to_json(), site=party.party)
        party.dataset = done(self.made[owner].post("/v1/datasets", declared), 201)
        file = self.folder / f"{party.name}.csv"
        lines = [f"{age},{dose},{str(ill).lower()}" for age, dose, ill in self.rows[number - 1]]
        file.write_text("\n".join(["age,dose,ill", *lines]) + "\n", encoding="utf-8")
        known = SiteDatasets(party.path)
        known.declare(
            SiteDataset(
                dataset=DatasetId(party.dataset["dataset"]),
                population=PopulationId(population),
                file=file,
                format=UploadFormat.of("csv"),
                schema=SCHEMA,
                unit=UNIT,
            )
        )
        self.attest(party)
        self.permit(party, exact=exact)
        return party

    def permit(self, party: Party, *, exact: bool = True, obligations: dict[str, Any] | None = None) -> None:
        """The owner's grant to the trainer."""
        grant = grant_body(
            self.made["trainer"].principal,
            party.dataset["dataset"],
            job_kinds=["he.aggregate", "he.glm", "he.statistics"],
            obligations=({"exact_release": "two-approvals"} if exact else {}) if obligations is None else obligations,
        )
        done(self.made[party.owner].post("/v1/grants", grant), 201)

    def grants(self, party: Party) -> list[str]:
        """The grants on a site's dataset that hold."""
        found = done(self.made[party.owner].get(f"/v1/grants?dataset={party.dataset['dataset']}"))
        return [one["grant"] for one in found if one["state"] == "active"]

    def attest(self, party: Party) -> str:
        """A site attests its file as it is; the version that comes of it."""
        place = f"{DATASETS}/{party.dataset['dataset']}/attestation"
        version: str = done(party.wire.client.put(place, content=self.signed(party)), 201)["version"]
        return version

    def signed(self, party: Party) -> bytes:
        """What a site signs of its file as it is."""
        known, dataset = SiteDatasets(party.path), DatasetId(party.dataset["dataset"])
        with party.home() as home:
            rows = commitment(known.get(dataset), home.commitment_key)
            signed = attestation(known.get(dataset), party.party, rows).signed(home.signer)
            known.note_rows(dataset, rows)
        return signed


def fetched(made: House, release: str, name: str) -> bytes:
    """A file of a published release."""
    return file_of(made["trainer"], release, name)


def events(made: House, *types: str) -> list[dict[str, Any]]:
    """The fields of the log's entries of some types, in order."""
    return [entry["fields"] | {"type": entry["type"]} for entry in made.log() if entry["type"] in types]


def table_of(artifact: bytes) -> dict[str, float]:
    """The coefficients of a released model by term."""
    return {line["term"]: float(line["coefficient"]) for line in json.loads(artifact)["table"]}
