"""A consortium as processes: a gateway with both listeners, and agents that reach it over mutual TLS alone.

Homes are made in this process, which costs less than a command for each step; whatever works on a job afterwards is the
program `privgate site run` or `privgate keyholder run`, as its people would start it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel.clock import SystemClock
from kernel.events import Parameter
from kernel.ids import DatasetId, PartyId, PopulationId, Slug
from privacy.homomorphic.documents.order import Aggregation, Outcome
from privacy.homomorphic.documents.parties import PartyKind
from privacy.ingest.formats import UploadFormat
from privacy.sealing.durable import Point, no_point
from privacy.sealing.keyring_file import KeyFile
from privacy.sealing.private_files import make_key_file, read_key_file
from privgate.agents.channel import HttpsChannel
from privgate.agents.home import Enrolment, Home
from privgate.agents.requesting import certificate_request
from privgate.agents.rules import Rules
from privgate.agents.site.attesting import attestation, commitment
from privgate.agents.site.datasets import SiteDataset, SiteDatasets
from privgate.demo.consortium.agents import Agent
from privgate.demo.processes import LocalGateway
from privgate.sdk import Gateway, connect
from privgate.sdk.jobs import Job
from tests.support.consortium import SCHEMA, UNIT, rows_of

SETTINGS = {"PRIVGATE_TICK_SECONDS": "1", "PRIVGATE_PARTY_PORT": "0", "OMP_NUM_THREADS": "1"}
PURPOSE = "research"
PATIENCE_SECONDS = 120.0
LOOK_SECONDS = 0.1
ENDED = frozenset({"finished", "failed", "cancelled", "refused"})
ROLES = {"trainer": "trainer", "checker": "checker", "auditor": "auditor", "laboratory": "owner"}


@dataclass
class Member:
    """One party: the process that is it, and its own side of things."""

    agent: Agent
    owner: str
    dataset: str = ""

    @property
    def key(self) -> KeyFile:
        """What opens its vault."""
        return KeyFile(read_key_file(self.agent.folder / "home.key"))

    def home(self, point: Point = no_point) -> Home:
        """Open its home; its process must not run."""
        return Home(self.agent.home, self.key, os.urandom, SystemClock(), point)

    def log(self) -> list[Mapping[str, Any]]:
        """What its own log has, once it is judged: read beside the running process."""
        from privgate.agents.home import identity_of
        from privgate.agents.log import NAME, entries
        from privgate.agents.verifying import verify_home

        verify_home(self.agent.home)
        who, file = identity_of(self.agent.home), self.agent.home / NAME
        data = file.read_bytes() if file.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        return [entry.to_json() for entry in entries(whole, who.identity, who.fingerprint)]


class Federation:
    """Hospitals and a laboratory at a running gateway, pinned to each other, with grants for the trainer.

    Args:
        local: The gateway.
        folder: Where homes and files lie.
        rows: Of each hospital, as lines of CSV under the schema's columns.
        schema: Of all of them.
    """

    def __init__(
        self,
        local: LocalGateway,
        folder: Path,
        rows: Sequence[Sequence[str]] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> None:
        self.local, self.folder = local, folder
        self.schema = dict(schema or SCHEMA.to_json())
        self.rows = rows if rows is not None else [csv_rows(seed, count) for seed, count in ((1, 60), (2, 45), (3, 80))]
        self.people: dict[str, Gateway] = {}
        self._principals: dict[str, str] = {}
        owners = [f"hospital-{number}" for number in range(1, len(self.rows) + 1)]
        self._enrol({**ROLES, **dict.fromkeys(owners, "owner")})
        self.holder = self._member("keyholder", "laboratory")
        self.sites = [self._member("site", owner) for owner in owners]
        for site, lines in zip(self.sites, self.rows, strict=True):
            self._declare(site, lines)
        self._trust_everybody()

    @property
    def everybody(self) -> list[Member]:
        """Key holder and sites."""
        return [self.holder, *self.sites]

    def close(self) -> None:
        """Stop all agents, let all connections go."""
        for member in self.everybody:
            member.agent.stop()
        for connected in self.people.values():
            connected.close()

    def start(self) -> None:
        """All agents work."""
        for member in self.everybody:
            member.agent.start()

    def admitted(self, spec: Mapping[str, Any]) -> Job:
        """A job over all hospitals that everybody has approved."""
        asked = {
            "purpose": PURPOSE,
            "datasets": [site.dataset for site in self.sites],
            "key_holder": self.holder.agent.party,
            **spec,
        }
        job = self.people["trainer"].submit(asked)
        if spec["result"] == "exact":
            for site in self.sites:
                self.people[site.owner].approve(job.job)
            job = self.people["checker"].approve(job.job)
        assert job.state == "collecting", job
        return job

    def job(self, job: str) -> Job:
        """How a job stands."""
        return self.people["trainer"].jobs[job]

    def ended(self, *jobs: str, seconds: float = PATIENCE_SECONDS) -> list[Job]:
        """Wait until jobs have ended, with every agent alive."""
        until = time.monotonic() + seconds
        while True:
            for member in self.everybody:
                member.agent.check()
            self.local.check()
            found = [self.job(job) for job in jobs]
            if all(job.state in ENDED for job in found):
                return found
            assert time.monotonic() < until, (found, [member.agent.told() for member in self.everybody])
            time.sleep(LOOK_SECONDS)

    def settled(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Let everybody read how jobs ended, until nobody's log grows any more; then stop all agents."""
        until, before = time.monotonic() + seconds, None
        while time.monotonic() < until:
            sizes = [len(member.log()) for member in self.everybody]
            if sizes == before:
                break
            before = sizes
            time.sleep(2)
        for member in self.everybody:
            member.agent.check()
            member.agent.stop()

    def _enrol(self, roles: Mapping[str, str]) -> None:
        local = self.local
        with connect(url=local.url, token=local.admin_token, authority=local.authority) as admin:
            admin.define_purpose(PURPOSE)
            admin.set_policy({"approvals": [], "ceilings": [], "checked_by": ["checker"]})
            self.trust = admin.trust()
            for name, role in roles.items():
                given = admin.enrol(name, role)
                self._principals[name] = given.principal
                self.people[name] = connect(
                    url=local.url, token=given.token, authority=local.authority, trust=self.trust
                )

    def _member(self, kind: str, name: str) -> Member:
        member = Member(Agent(kind, name, self.folder / name), name)
        member.agent.folder.mkdir(mode=0o700)
        make_key_file(member.agent.folder / "home.key", os.urandom)
        who = Home.create(member.agent.home, PartyKind(kind), Slug(name), member.key, os.urandom)
        with member.home() as home:
            request = certificate_request(home.tls_key, who.name)
            body = {"identity": who.to_json(), "request": request}
            answer = self.people[name].connection.post("/v1/parties", body)
            given = Enrolment(
                party=PartyId(answer["party"]),
                url=self.local.party_url,
                authority=self.local.authority,
                certificate=answer["certificate"],
            )
            home.enrol(given)
            home.trust_gateway(self.trust)
            both = (Outcome.EXACT, Outcome.NOISED)
            adds = (Aggregation.KEY_HOLDER, Aggregation.GATEWAY)
            home.allow(Rules(outcomes=both, aggregation=adds, most_rho=Parameter("4"), rounds_at_most=200))
        member.agent.party = given.party
        return member

    def _declare(self, site: Member, lines: Sequence[str]) -> None:
        owner = self.people[site.owner]
        population = owner.create_population(
            unit_noun="patient", unit_domain="patients", public_size=200, epsilon="8", delta="0.000001"
        )
        declared = {
            "title": site.owner,
            "population": population.population,
            "schema": self.schema,
            "unit": UNIT.to_json(),
            "sensitivity": "confidential",
            "purposes": [PURPOSE],
            "legal_basis": "gdpr-6-1-e-public-task",
            "retention_until": "2099-01-01T00:00:00Z",
            "site": site.agent.party,
        }
        site.dataset = owner.connection.post("/v1/datasets", declared)["dataset"]
        file = site.agent.folder / "patients.csv"
        names = [column["name"] for column in self.schema["columns"]]
        file.write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
        known = SiteDatasets(site.agent.home)
        known.declare(
            SiteDataset(
                dataset=DatasetId(site.dataset),
                population=PopulationId(population.population),
                file=file.absolute(),
                format=UploadFormat.of("csv"),
                schema=SCHEMA.from_json(self.schema),
                unit=UNIT,
            )
        )
        self._attest(site, known)
        owner.connection.post("/v1/grants", self._grant(site))

    def _attest(self, site: Member, known: SiteDatasets) -> None:
        dataset = known.get(DatasetId(site.dataset))
        with site.home() as home, HttpsChannel(home.access()) as channel:
            rows = commitment(dataset, home.commitment_key)
            signed = attestation(dataset, PartyId(site.agent.party), rows).signed(home.signer)
            channel.attest(dataset.dataset, signed)
        known.note_rows(dataset.dataset, rows)

    def _grant(self, site: Member) -> dict[str, Any]:
        return {
            "principal": self._principals["trainer"],
            "dataset": site.dataset,
            "purpose": PURPOSE,
            "until": "2099-01-01T00:00:00Z",
            "job_kinds": ["he.aggregate", "he.glm", "he.statistics"],
            "obligations": {"exact_release": "two-approvals", "trainer_share": "1", "approval_required": False},
        }

    def _trust_everybody(self) -> None:
        identities = []
        for member in self.everybody:
            with member.home() as home:
                identities.append(home.who)
        for member in self.everybody:
            with member.home() as home:
                for who in identities:
                    if who != home.who:
                        home.trust(who)


def csv_rows(seed: int, count: int) -> list[str]:
    """Made-up patients as lines of a file."""
    return [f"{age},{dose},{str(ill).lower()}" for age, dose, ill in rows_of(seed, count)]


@contextmanager
def federation(folder: Path, kind: type[LocalGateway] = LocalGateway, **changed: Any) -> Iterator[Federation]:
    """A gateway with its consortium; everything is stopped when the block ends."""
    with ExitStack() as held:
        local = held.enter_context(kind(folder / "gateway", folder / "output", SETTINGS))
        made = Federation(local, folder, **changed)
        held.callback(made.close)
        yield made
