"""The scene of the table of rights, made through the API, and one request for every operation.

The dataset lives through its states once; the gateway's directory is copied in each, so that a request that changes
something can be tried on a copy.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.services.people import found_tenant
from privacy.homomorphic.documents.parties import PartyKind
from tests.support.api import (
    House,
    Person,
    dataset_body,
    done,
    grant_body,
    house,
    job_body,
    population_body,
    reopened,
    rows_csv,
    worker_of,
)
from tests.support.parties import Agent, enrolled

FOLDER = Path(__file__).parents[1] / "scenarios" / "authorization"
CAST = list(csv.DictReader((FOLDER / "cast.csv").open()))
TABLE = list(csv.DictReader((FOLDER / "table.csv").open()))
ROUTES = {row["operation"]: row for row in csv.DictReader((FOLDER / "routes.csv").open())}
STATES = ("registered", "sealed", "sealing", "retired")
PURPOSES = {
    "granted": "research/oncology",
    "allowed": "research/cardiology",
    "foreign": "marketing",
    "undefined": "astrology",
}
NO_JOB, NO_RELEASE, NO_VERSION = "job_" + "a" * 26, "rel_" + "a" * 26, "ver_" + "a" * 26
RECIPE = {"steps": 5, "expected_batch": 64}


@dataclass(frozen=True)
class Request:
    """What is sent."""

    method: str
    path: str
    body: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] | None = None

    def sent_by(self, person: Person) -> Any:
        """Send it as somebody."""
        arguments: dict[str, Any] = {"headers": dict(self.headers or {})}
        if self.content is not None:
            arguments["content"] = self.content
        return person.ask(self.method, self.path, self.body, **arguments)


@dataclass
class Scene:
    """One state of the dataset: a stopped gateway's directory, and the identifiers in it."""

    state: str
    home: Path
    like: House
    ids: Mapping[str, str]

    @contextmanager
    def opened(self, copy: Path) -> Iterator[House]:
        """Start a gateway on a copy of the directory."""
        shutil.copytree(self.home, copy)
        with reopened(copy, self.like) as made:
            made.ids = dict(self.ids)
            yield made
        shutil.rmtree(copy)


def scenes(folder: Path, until: str = "retired") -> dict[str, Scene]:
    """Make the scene in every state of the dataset, up to one."""
    home, made = folder / "home", {}
    with house(home, people=False) as start:
        _enrol(start)
        _govern(start)
    for state, step in zip(STATES, (_nothing, _seal_and_run, _upload, _seal_and_retire), strict=True):
        if until in made:
            break
        with reopened(home, start) as running:
            running.ids = start.ids
            step(running)
            running.settle()
        shutil.copytree(home, folder / state)
        made[state] = Scene(state, folder / state, start, dict(start.ids))
    return made


def _enrol(made: House) -> None:
    admin = made["admin"]
    for member in CAST:
        if member["principal"] != "admin":
            made.enrol(member["principal"], *filter(None, member["roles"].split("|")))
    for purpose in ("research", "research/oncology", "research/cardiology", "marketing"):
        within = ["research"] if "/" in purpose else []
        done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
    _, stranger = found_tenant(made.gateway.on, tenant_name="Another hospital", admin_name="stranger's admin")
    other = Person(made.client, stranger.principal, stranger.token.written())
    token = done(other.post("/v1/principals", {"name": "stranger"}), 201)
    for role in ("owner", "trainer", "checker"):
        done(other.post(f"/v1/principals/{token['principal']}/roles", {"role": role}))
    made.people["stranger"] = Person(made.client, token["principal"], token["token"], token["credential"])


def _govern(made: House) -> None:
    owner = made["owner"]
    population = done(owner.post("/v1/populations", population_body(epsilon="20")), 201)["population"]
    made.ids = {"population": population, "version": NO_VERSION, "former": NO_VERSION, "report": "rpt_" + "a" * 26}
    made.ids["dataset"] = done(owner.post("/v1/datasets", dataset_body(population)), 201)["dataset"]
    agent = enrolled(made, "owner", "site", PartyKind.SITE)
    made.ids |= {"party": str(agent.party), "renewal": agent.renewal().decode("ascii")}
    for member in CAST:
        if member["grant"] != "none":
            until = {"until": "2020-01-01T00:00:00Z"} if member["grant"] == "expired" else {}
            made.ids[f"grant of {member['principal']}"] = _grant(made, member["principal"], **until)
    for member in CAST:
        if member["enabled"] == "no":
            done(made["admin"].delete(f"/v1/principals/{made[member['principal']].principal}"))


def _grant(made: House, principal: str, *, approval_required: bool = False, **changes: Any) -> str:
    obligations = {"max_epsilon": "3", "approval_required": approval_required}
    body = grant_body(made[principal].principal, made.ids["dataset"], obligations=obligations, **changes)
    return str(done(made["owner"].post("/v1/grants", body), 201)["grant"])


def _nothing(_: House) -> None:
    """The dataset is registered already."""


def _upload(made: House) -> None:
    sent = made["owner"].put(f"/v1/datasets/{made.ids['dataset']}/content", content=rows_csv())
    made.ids["version"] = done(sent, 202)["version"]


def _seal_and_run(made: House) -> None:
    _upload(made)
    assert worker_of(made).step()
    made.ids["former"] = made.ids["version"]
    _upload(made)
    assert worker_of(made).step()
    for member in _requesters():
        made.ids[f"job of {member}"] = _request(made, member)
        assert worker_of(made).step()
        ended = done(made[member].get(f"/v1/jobs/{made.ids[f'job of {member}']}"))
        made.ids[f"release of {member}"] = ended["release"]
        waiting = _grant(made, member, approval_required=True)
        made.ids[f"parked job of {member}"] = _request(made, member)
        done(made["owner"].delete(f"/v1/grants/{waiting}"))
        made.ids[f"grant of {member}"] = _grant(made, member)
    made.ids["report"] = done(made["auditor"].post("/v1/reports", {}), 201)["report"]


def _seal_and_retire(made: House) -> None:
    assert worker_of(made).step()
    done(made["owner"].delete(f"/v1/datasets/{made.ids['dataset']}"))


def _request(made: House, principal: str) -> str:
    return str(done(made[principal].post("/v1/jobs", job_body(made.ids["dataset"], recipe=RECIPE)), 202)["job"])


def _requesters() -> list[str]:
    return [member["principal"] for member in CAST if member["requested"] == "yes" and member["enabled"] == "yes"]


def request_for(made: House, operation: str, principal: str, purpose: str) -> Request:
    """The request of one cell: `principal` asks for `operation`, for `purpose` where it has one."""
    return _REQUESTS[operation](made, principal if principal in _requesters() else "trainer", PURPOSES[purpose])


_Make = Callable[[House, str, str], Request]


def _plain(method: str, path: str, body: Any = None, **headers: str) -> _Make:
    """A request whose path names identifiers of the scene, and `{who}` for whoever requested the job."""

    def make(made: House, who: str, _: str) -> Request:
        names = {name.replace(" ", "_"): value for name, value in made.ids.items()}
        people = {name.replace("-", "_"): person.principal for name, person in made.people.items()}
        own = {
            "job": made.ids.get(f"job of {who}", NO_JOB),
            "parked": made.ids.get(f"parked job of {who}", NO_JOB),
            "release": made.ids.get(f"release of {who}", NO_RELEASE),
            "token": made["member"].credential,
        }
        return Request(method, path.format(**names, **people, **own), body, headers=headers)

    return make


def _approval(made: House, who: str, _: str) -> Request:
    job = made.ids.get(f"parked job of {who}", NO_JOB)
    read = made[who].get(f"/v1/jobs/{job}").json()
    body = {"verdict": "approved", "request_digest": read.get("request_digest", "sha256:" + "0" * 64)}
    return Request("POST", f"/v1/jobs/{job}/approval", body)


def _job(path: str) -> _Make:
    def make(made: House, _: str, purpose: str) -> Request:
        return Request("POST", path, job_body(made.ids["dataset"], purpose=purpose, recipe=RECIPE))

    return make


_STANDARD = {"approvals": [], "ceilings": [], "checked_by": ["owner", "checker"]}
_REQUESTS: Mapping[str, _Make] = {
    "readSelf": _plain("GET", "/v1/self"),
    "listPrincipals": _plain("GET", "/v1/principals"),
    "enrolPrincipal": _plain("POST", "/v1/principals", {"name": "somebody new"}),
    "assignRole": _plain("POST", "/v1/principals/{member}/roles", {"role": "trainer"}),
    "removeRole": _plain("DELETE", "/v1/principals/{checker}/roles/checker"),
    "disablePrincipal": _plain("DELETE", "/v1/principals/{outsider}"),
    "issueCredential": _plain("POST", "/v1/principals/{member}/credentials", {}),
    "revokeCredential": _plain("DELETE", "/v1/credentials/{token}"),
    "listPurposes": _plain("GET", "/v1/purposes"),
    "definePurpose": _plain("POST", "/v1/purposes", {"purpose": "teaching"}),
    "readPolicy": _plain("GET", "/v1/policy"),
    "setPolicy": _plain("PUT", "/v1/policy", _STANDARD, **{"If-Match": "*"}),
    "listGrants": _plain("GET", "/v1/grants"),
    "createGrant": lambda made, _, purpose: Request(
        "POST", "/v1/grants", grant_body(made["outsider"].principal, made.ids["dataset"], purpose=purpose)
    ),
    "revokeGrant": _plain("DELETE", "/v1/grants/{grant_of_peer}"),
    "createPopulation": _plain("POST", "/v1/populations", population_body()),
    "listPopulations": _plain("GET", "/v1/populations"),
    "readPopulation": _plain("GET", "/v1/populations/{population}"),
    "changeBudget": _plain("PUT", "/v1/populations/{population}/budget", {"epsilon": "21"}, **{"If-Match": "*"}),
    "openBlock": _plain("PUT", "/v1/populations/{population}/blocks/2", {"public_size": 100}, **{"If-Match": "*"}),
    "capTrainer": lambda made, _, __: Request(
        "PUT",
        f"/v1/populations/{made.ids['population']}/caps",
        {"principal": made["peer"].principal, "share": "0.5"},
        headers={"If-Match": "*"},
    ),
    "registerDataset": lambda made, _, __: Request("POST", "/v1/datasets", dataset_body(made.ids["population"])),
    "listDatasets": _plain("GET", "/v1/datasets"),
    "readDataset": _plain("GET", "/v1/datasets/{dataset}"),
    "uploadDataset": lambda made, _, __: Request(
        "PUT", f"/v1/datasets/{made.ids['dataset']}/content", content=rows_csv()
    ),
    "readVersion": _plain("GET", "/v1/datasets/{dataset}/versions/{version}"),
    "listVersions": _plain("GET", "/v1/datasets/{dataset}/versions"),
    "eraseVersion": _plain("DELETE", "/v1/datasets/{dataset}/versions/{former}"),
    "retireDataset": _plain("DELETE", "/v1/datasets/{dataset}"),
    "quoteJob": _job("/v1/quotes"),
    "requestJob": _job("/v1/jobs"),
    "listJobs": _plain("GET", "/v1/jobs"),
    "readJob": _plain("GET", "/v1/jobs/{job}"),
    "readQuestion": _plain("GET", "/v1/jobs/{job}/question"),
    "sendQuestion": _plain("PUT", "/v1/jobs/{job}/question"),
    "followJob": _plain("GET", "/v1/jobs/{job}/events"),
    "cancelJob": _plain("POST", "/v1/jobs/{parked}/cancel"),
    "answerApproval": _approval,
    "enrolParty": lambda made, _, __: Request("POST", "/v1/parties", Agent.made("a-new-site", PartyKind.SITE).body),
    "listParties": _plain("GET", "/v1/parties"),
    "disableParty": _plain("DELETE", "/v1/parties/{party}"),
    "renewParty": lambda made, _, __: Request(
        "POST", f"/v1/parties/{made.ids['party']}/certificate", {"renewal": made.ids["renewal"]}
    ),
    "listReleases": _plain("GET", "/v1/releases"),
    "readRelease": _plain("GET", "/v1/releases/{release}"),
    "checkRelease": _plain("POST", "/v1/releases/{release}/check", {"verdict": "release"}),
    "recallRelease": _plain("POST", "/v1/releases/{release}/recall"),
    "fetchRelease": _plain("GET", "/v1/releases/{release}/files/certificate.json"),
    "readTrust": _plain("GET", "/v1/trust"),
    "readCheckpoint": _plain("GET", "/v1/log/checkpoint"),
    "readTile": _plain("GET", "/v1/log/tile/0/000.p/1"),
    "readEntries": _plain("GET", "/v1/entries"),
    "exportArchive": _plain("GET", "/v1/archive"),
    "issueReport": _plain("POST", "/v1/reports", {"from_size": 0, "frameworks": []}),
    "listReports": _plain("GET", "/v1/reports"),
    "fetchReport": _plain("GET", "/v1/reports/{report}/files/report.json"),
    "live": _plain("GET", "/livez"),
    "health": _plain("GET", "/healthz"),
    "ready": _plain("GET", "/readyz"),
    "started": _plain("GET", "/startupz"),
}

OPERATIONS = tuple(_REQUESTS)


def publish(made: House, principal: str) -> None:
    """Let the release of a requester go, as its door-keeper; for requests that need a published one."""
    release = made.ids.get(f"release of {principal}", made.ids.get("release of trainer"))
    done(made["owner"].post(f"/v1/releases/{release}/check", {"verdict": "release"}))
    made.settle()
