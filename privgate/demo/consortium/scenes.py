"""The acts: parties meet, owners declare and approve, a model is fitted in rounds, checked and released."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audit.trust import TrustFile
from privgate.client.errors import ConflictError, DeniedError, UnavailableError
from privgate.demo.consortium.agents import Agent
from privgate.demo.hospitals import Study, write_hospital
from privgate.demo.processes import LocalGateway
from privgate.demo.scenes import UNTIL, DemoError
from privgate.demo.screen import Screen
from privgate.demo.waiting import until
from privgate.sdk import Gateway, connect
from privgate.sdk.jobs import Job

PURPOSE = "research/heart"
PATIENCE_SECONDS = 300.0
LOOK_SECONDS = 0.5
LAST_LOOK_SECONDS = 3.0
ENDED = frozenset({"finished", "failed", "cancelled", "refused"})


@dataclass(slots=True)
class Story:
    """What has happened so far.

    Attributes:
        local: The running gateway.
        scratch: Where everybody's folders are.
        people: Who is signed in, by name.
        agents: The key holder, then the hospitals.
        datasets: The gateway's numbers, in the hospitals' order.
    """

    study: Study
    screen: Screen
    local: LocalGateway
    scratch: Path
    people: dict[str, tuple[str, Gateway]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    agents: list[Agent] = field(default_factory=list)
    datasets: list[str] = field(default_factory=list)

    @property
    def holder(self) -> Agent:
        """The key holder."""
        return self.agents[0]

    @property
    def sites(self) -> list[Agent]:
        """The hospitals."""
        return self.agents[1:]

    def gateway(self, name: str) -> Gateway:
        """The gateway as somebody sees it."""
        return self.people[name][1]

    def close(self) -> None:
        """Stop the agents and let all connections go."""
        for agent in self.agents:
            agent.stop()
        for _, connected in self.people.values():
            connected.close()


def enrol(story: Story) -> TrustFile:
    """The administrator lets people in; everybody pins the gateway's keys."""
    screen, local = story.screen, story.local
    admin = connect(url=local.url, token=local.admin_token, authority=local.authority)
    screen.act("The administrator", "lets people in and sets the rules of the house")
    admin.define_purpose("research")
    admin.define_purpose(PURPOSE, within=["research"])
    admin.set_policy({"approvals": [], "ceilings": [], "checked_by": ["checker"]})
    trust = admin.trust()
    story.people["admin"] = ("", admin)
    roles = {"trainer": "trainer", "door-keeper": "checker", "auditor": "auditor", "laboratory": "owner"}
    for name, role in {**roles, **{hospital.name: "owner" for hospital in story.study.hospitals}}.items():
        given = admin.enrol(name, role)
        connected = connect(url=local.url, token=given.token, authority=local.authority, trust=trust)
        story.people[name], story.tokens[name] = (given.principal, connected), given.token
    screen.did(f"{len(story.tokens)} people enrolled", ", ".join(story.tokens))
    return trust


def meet(story: Story, trust: TrustFile) -> None:
    """Key holder and hospitals make their keys, exchange identities, and are enrolled."""
    screen, local = story.screen, story.local
    screen.act("Hospitals and a laboratory", "make their keys and pin each other's, without the gateway")
    pinned = story.scratch / "gateway-trust.json"
    pinned.write_bytes(trust.to_bytes())
    story.agents.append(Agent("keyholder", "laboratory", story.scratch / "laboratory"))
    story.agents += [Agent("site", hospital.name, story.scratch / hospital.name) for hospital in story.study.hospitals]
    for agent in story.agents:
        screen.did(f"{agent.name}: keys made", f"fingerprint {agent.init()[7:23]}...")
    for agent in story.agents:
        others = [str(other.identity) for other in story.agents if other is not agent]
        agent.run("trust", str(pinned), *others)
        agent.enrol(local.url, local.home / "tls" / "ca.pem", story.tokens[agent.name], local.party_url)
        agent.run("rules", "--outcome", "exact", *(("--requests", "allowed") if agent.kind == "site" else ()))
    screen.did("everybody pinned four identities and the gateway's keys, and was enrolled", local.party_url)
    screen.did("each agent's own rules now allow exact results", "at first they allow results with noise alone")


def declare(story: Story) -> None:
    """Each hospital declares its table and attests its rows, which stay where they are."""
    study, screen = story.study, story.screen
    screen.act("Each hospital", "declares its table; its rows stay in its own house")
    unit = {"kind": "record", "noun": "patient"}
    for hospital, agent in zip(study.hospitals, story.sites, strict=True):
        owner, file = story.gateway(hospital.name), agent.folder / "patients.csv"
        write_hospital(hospital, file)
        population = owner.create_population(
            unit_noun="patient",
            unit_domain=f"patients-of-{hospital.name}",
            public_size=200,
            epsilon="8",
            delta="0.000001",
        )
        declared = {
            "title": hospital.title,
            "population": population.population,
            "schema": study.schema,
            "unit": unit,
            "sensitivity": "confidential",
            "purposes": ["research"],
            "legal_basis": "gdpr-6-1-e-public-task",
            "retention_until": UNTIL,
            "site": agent.party,
        }
        dataset = owner.connection.post("/v1/datasets", declared)["dataset"]
        story.datasets.append(dataset)
        _here(agent, dataset, declared, file)
        owner.connection.post("/v1/grants", _grant(story, dataset))
        screen.did(f"{hospital.title}: declared, attested, granted", dataset)
    screen.note("An exact result of these datasets needs the yes of each owner and of a checker, for each job.")


def _here(agent: Agent, dataset: str, declared: Mapping[str, Any], file: Path) -> None:
    """Tell the agent which file a dataset is, and let it attest the file."""
    declaration = agent.folder / "declaration.json"
    declaration.write_text(json.dumps(declared), encoding="utf-8")
    agent.run("dataset", dataset, str(declaration), str(file))
    agent.run("attest", dataset)


def _grant(story: Story, dataset: str) -> dict[str, Any]:
    return {
        "principal": story.people["trainer"][0],
        "dataset": dataset,
        "purpose": PURPOSE,
        "until": UNTIL,
        "job_kinds": ["he.glm", "he.statistics"],
        "obligations": {"exact_release": "two-approvals"},
    }


def request(story: Story) -> Job:
    """The trainer asks for a model; every owner and the door-keeper look at it and say yes."""
    screen, trainer = story.screen, story.gateway("trainer")
    screen.act("The trainer", f"asks: {story.study.question}")
    spec = {
        "kind": "he.glm",
        "datasets": story.datasets,
        "purpose": PURPOSE,
        "key_holder": story.holder.party,
        "result": "exact",
        "round_seconds": 600,
        **story.study.model,
    }
    job = trainer.submit(spec)
    screen.did(f"requested {job.job}", "it waits for everybody whose patients it is about")
    for hospital in story.study.hospitals:
        story.gateway(hospital.name).approve(job.job)
        screen.did(f"{hospital.title} approves")
    for agent in story.sites:
        agent.run("allow", job.request_digest)
    screen.did("each hospital's own agent is told to act upon this very request", job.request_digest)
    story.gateway("door-keeper").approve(job.job)
    screen.did("the door-keeper approves", "an exact result wants two people: an owner and somebody else")
    return job


def collect(story: Story, job: Job) -> Job:
    """The agents work until the job has ended."""
    screen = story.screen
    screen.act("The agents", "fit the model: sums leave encrypted, and only their total is ever decrypted")
    begun = time.monotonic()
    for agent in story.agents:
        agent.start()
    trainer, cut = story.gateway("trainer"), False
    while time.monotonic() < begun + PATIENCE_SECONDS:
        for agent in story.agents:
            agent.check()
        story.local.check()
        found = trainer.jobs[job.job]
        if found.state in ENDED:
            break
        if not cut and found.percent > 0:
            cut = True
            _switch_off_and_on(story)
        time.sleep(LOOK_SECONDS)
    _let_go(story)
    if found.state != "finished":
        raise DemoError(f"the job ended as {found.state}: " + "; ".join(agent.told() for agent in story.agents))
    screen.did("finished", f"after {time.monotonic() - begun:.0f} s")
    return found


def _switch_off_and_on(story: Story) -> None:
    """A power cut at the laboratory and at one hospital, in the middle of a round."""
    for agent in (story.holder, story.sites[0]):
        agent.switch_off()
        agent.start()
    story.screen.refused(
        f"power cut at {story.holder.name} and at {story.sites[0].name}",
        "killed and started again: what was begun goes on with the same uploads",
    )


def _let_go(story: Story) -> None:
    """Give the agents time to read the end, then stop them."""
    time.sleep(LAST_LOOK_SECONDS)
    for agent in story.agents:
        agent.stop()


def judge_logs(story: Story) -> list[dict[str, Any]]:
    """Each agent's own log, judged by its own command."""
    screen = story.screen
    screen.act("Hospitals and laboratory", "look into their own logs")
    found = []
    for agent in story.agents:
        log = agent.log()
        found.append(log)
        screen.did(
            f"{agent.name}: its log verifies",
            f"{log['size']} entries, {log['results']} results of the key holder's, {log['decryptions']} decryptions",
        )
    return found


def release(story: Story, job: Job, out: Path) -> None:
    """The door-keeper lets it go; the trainer fetches it."""
    screen, name = story.screen, str(job.release)
    screen.act("The door-keeper", "lets the model go")
    try:
        until(lambda: story.gateway("door-keeper").check_release(name, "release"), UnavailableError)
    except DeniedError as error:
        raise DemoError(f"the door-keeper may not: {error}") from None
    screen.did("released", name)
    fetched = until(lambda: story.gateway("trainer").fetch_release(name), ConflictError)
    fetched.write(out / "release")
    screen.did("fetched and verified by the trainer", f"{out}/release")


def export(story: Story, out: Path) -> None:
    """The auditor fetches the whole log."""
    story.screen.act("The auditor", "fetches the log, and verifies everything once the gateway is gone")
    exported = story.gateway("auditor").export(out / "export")
    for part in sorted(exported.iterdir()):
        part.rename(out / part.name)
    exported.rmdir()


def verify(screen: Screen, out: Path, identities: Sequence[Path]) -> bool:
    """The verifier's word, from files alone: with the identities that the parties gave out, not the gateway's."""
    program = str(Path(sys.executable).with_name("privgate"))
    pins = [argument for file in identities for argument in ("--pin", str(file))]
    done = subprocess.run(  # noqa: S603 - our own program
        [program, "verify", str(out), "--trust", str(out / "trust.json"), *pins],
        capture_output=True,
        text=True,
        check=False,
    )
    screen.verbatim(done.stdout + done.stderr)
    if done.returncode:
        raise DemoError("the verifier does not say VERIFIED")
    return True
