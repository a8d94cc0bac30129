"""A real gateway behind a client: SQLite in a directory of its own, initialised as `privgate-gateway init` does it.

Everything runs except the listener: middleware, threads, sequencer and journal are those of the server.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import text
from starlette.testclient import TestClient

from gateway.app import create_app
from gateway.launchers.second_opinion import ask_dp_accounting
from gateway.services.people import found_tenant
from gateway.settings import Settings
from gateway.storage.engine import build_engine
from gateway.storage.schema import migrate
from gateway.wiring import Gateway, build, unlock_of
from gateway.work import confinement_of
from gateway.worker import Worker
from kernel.clock import Clock, SystemClock
from kernel.ids import TenantId
from privacy.sealing.keyring import Keyring
from privacy.sealing.private_files import make_key_file

ROLES: Mapping[str, tuple[str, ...]] = {
    "member": (),
    "owner": ("owner",),
    "other-owner": ("owner",),
    "trainer": ("trainer",),
    "peer": ("trainer",),
    "checker": ("checker",),
    "auditor": ("auditor",),
}
"""Who is enrolled beside `admin`, and as what."""

SCHEMA: Mapping[str, Any] = {
    "columns": [
        {"name": "age", "kind": "numeric", "low": "0", "high": "120", "clamp": True},
        {"name": "dose", "kind": "numeric", "low": "0", "high": "1"},
        {"name": "outcome", "kind": "categorical", "categories": ["well", "ill"]},
    ]
}
UNTIL = "2099-01-01T00:00:00Z"


def settings_in(home: Path, **changes: Any) -> Settings:
    """Settings of a small gateway in `home`."""
    return Settings(home=home, sequencer_interval_ms=10, tick_seconds=1, **changes)


def initialise(settings: Settings) -> None:
    """Make key file, keyring and database, as the operator's command does on an empty directory."""
    settings.home.mkdir(mode=0o700, exist_ok=True)
    make_key_file(settings.key_file, os.urandom)
    Keyring.create(settings.home / "keyring", unlock_of(settings), clock=SystemClock(), entropy=os.urandom).close()
    engine = build_engine(settings.database)
    migrate(engine)
    engine.dispose()


@dataclass
class Person:
    """One principal with a token, and the client that it speaks through."""

    client: TestClient
    principal: str
    token: str
    credential: str = ""

    def ask(self, method: str, path: str, body: Any = None, **arguments: Any) -> Any:
        """Send a request with this person's token; POSTs carry a fresh Idempotency-Key unless one is given."""
        headers = {"Authorization": f"Bearer {self.token}"}
        if method == "POST":
            headers["Idempotency-Key"] = secrets.token_hex(16)
        headers |= arguments.pop("headers", {})
        if body is not None:
            arguments["json"] = body
        return self.client.request(method, path, headers=headers, **arguments)

    def get(self, path: str, **arguments: Any) -> Any:
        """GET."""
        return self.ask("GET", path, **arguments)

    def post(self, path: str, body: Any = None, **arguments: Any) -> Any:
        """POST."""
        return self.ask("POST", path, body, **arguments)

    def put(self, path: str, body: Any = None, **arguments: Any) -> Any:
        """PUT."""
        return self.ask("PUT", path, body, **arguments)

    def delete(self, path: str) -> Any:
        """DELETE."""
        return self.ask("DELETE", path)


@dataclass
class House:
    """A running gateway with its people."""

    gateway: Gateway
    client: TestClient
    tenant: TenantId
    people: dict[str, Person] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    """Identifiers of what a test has made."""

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def enrol(self, name: str, *roles: str) -> Person:
        """Let somebody in through the API and give the roles."""
        admin = self.people["admin"]
        token = done(admin.post("/v1/principals", {"name": name}), 201)
        for role in roles:
            done(admin.post(f"/v1/principals/{token['principal']}/roles", {"role": role}))
        self.people[name] = Person(self.client, token["principal"], token["token"], token["credential"])
        return self.people[name]

    def log(self) -> list[dict[str, Any]]:
        """Every entry of the tenant so far, oldest first, as its payload."""
        query = "SELECT payload FROM log_entry WHERE tenant = :tenant ORDER BY seq"
        with self.gateway.on.database.reading() as connection:
            rows = connection.execute(text(query), {"tenant": str(self.tenant)}).scalars()
            return [json.loads(bytes(payload)) for payload in rows]

    def decisions(self) -> dict[str, dict[str, Any]]:
        """The logged decisions by their names."""
        made = [entry["fields"] for entry in self.log() if entry["type"] == "decision:made"]
        return {fields["decision"]: fields for fields in made}

    def settle(self) -> None:
        """Wait until the log has published everything that is committed now."""
        deadline = time.monotonic() + 20
        while _pending(self.gateway) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not _pending(self.gateway)


@contextmanager
def house(home: Path, *, clock: Clock | None = None, people: bool = True, **changes: Any) -> Iterator[House]:
    """Start a gateway in `home` with an administrator and, unless told otherwise, the cast of `ROLES`."""
    settings = settings_in(home, **changes)
    initialise(settings)
    gateway = build(settings, clock=clock)
    tenant, admin = found_tenant(gateway.on, tenant_name="Test hospital", admin_name="admin")
    with client_of(gateway) as client:
        made = House(gateway, client, tenant)
        made.people["admin"] = Person(client, admin.principal, admin.token.written())
        for name, roles in ROLES.items() if people else ():
            made.enrol(name, *roles)
        yield made


@contextmanager
def reopened(home: Path, like: House) -> Iterator[House]:
    """Start a gateway in a copy of another's directory, for the same people."""
    gateway = build(settings_in(home))
    with client_of(gateway) as client:
        people = {name: replace(person, client=client) for name, person in like.people.items()}
        yield House(gateway, client, like.tenant, people)


def client_of(gateway: Gateway) -> TestClient:
    """A client of the gateway's app; entering it starts the app's threads."""
    return TestClient(create_app(gateway), base_url="https://gateway.test", raise_server_exceptions=False)


def worker_of(of: House) -> Worker:
    """A worker as the operator's command makes it, to be stepped."""
    settings, stopping = of.gateway.settings, threading.Event()
    confinement = confinement_of(settings)
    return Worker(
        on=of.gateway.on, confinement=confinement, opinion=ask_dp_accounting, name="test-worker", stopping=stopping
    )


def neighbour(of: House) -> Person:
    """The administrator of another organisation on the same gateway."""
    _, admin = found_tenant(of.gateway.on, tenant_name="Another hospital", admin_name="neighbour")
    return Person(of.client, admin.principal, admin.token.written())


def done(response: Any, status: int = 200) -> Any:
    """The body of an answer that has to be a success."""
    assert response.status_code == status, (response.status_code, response.text)
    return response.json()


def refused(response: Any, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of an answer that has to be a refusal."""
    assert response.status_code == status, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/problem+json", response.headers
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["correlation"] == response.headers["x-correlation-id"]
    assert code in (None, problem["code"]), problem
    return problem


def population_body(**changes: Any) -> dict[str, Any]:
    """A population of a few hundred patients, each of them one record."""
    unit = {"kind": "record", "noun": "patient"}
    declared = {"unit": unit, "unit_domain": "patients", "public_size": 500, "epsilon": "8", "delta": "0.000001"}
    return declared | changes


def dataset_body(population: str, **changes: Any) -> dict[str, Any]:
    """A small table on a population."""
    declared = {
        "title": "Doses and outcomes",
        "population": population,
        "schema": SCHEMA,
        "unit": {"kind": "record", "noun": "patient"},
        "sensitivity": "confidential",
        "purposes": ["research"],
        "legal_basis": "gdpr-6-1-e-public-task",
        "retention_until": UNTIL,
    }
    return declared | changes


def grant_body(principal: str, dataset: str, **changes: Any) -> dict[str, Any]:
    """A grant for training and evaluation."""
    declared = {
        "principal": principal,
        "dataset": dataset,
        "purpose": "research/oncology",
        "until": UNTIL,
        "job_kinds": ["training", "evaluation"],
    }
    return declared | changes


def job_body(dataset: str, **changes: Any) -> dict[str, Any]:
    """A request with everything filled in by the gateway."""
    spec = {"dataset": dataset, "purpose": "research/oncology", "epsilon": "1", "label": "outcome"} | changes
    return {"spec": {name: value for name, value in spec.items() if value is not None}}


def rows_csv(count: int = 500) -> bytes:
    """A file of the small table; no two rows are the same."""
    lines = (f"{i % 90}.{i},{(i % 97) / 100},{'ill' if i % 3 else 'well'}" for i in range(count))
    return ("age,dose,outcome\n" + "\n".join(lines) + "\n").encode()


def _pending(gateway: Gateway) -> bool:
    """Whether entries wait for an index, or for the checkpoint that is signed after it."""
    waiting = "SELECT count(*) FROM log_entry WHERE idx IS NULL"
    unsigned = "SELECT size - (SELECT coalesce(max(size), 0) FROM log_checkpoint) FROM log_tree"
    with gateway.on.database.reading() as connection:
        return any(connection.exec_driver_sql(query).scalar_one() for query in (waiting, unsigned))
