"""Every operation, with cases made from the API's own document, as each role and as nobody.

Whatever is sent: no 5xx, no status, content type or body that the document does not say, and no echo. A case is made
once and sent by everybody. Some cases name objects that exist, so that what lies behind the first checks is reached.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.api import House, Person
from tests.support.authorization import OPERATIONS, scenes

ROLES = ("admin", "owner", "trainer", "checker", "auditor", "nobody")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
SAMPLE, WHOLE = 2, 50
LAST = (
    "disablePrincipal",
    "removeRole",
    "eraseVersion",
    "retireDataset",
    "revokeCredential",
    "revokeGrant",
    "uploadDataset",
)
"""Operations that take away what others need."""

ORDER = [name for name in OPERATIONS if name not in LAST] + list(LAST)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The scene of the table of rights with its dataset sealed, a model held, and a job that waits."""
    folder = tmp_path_factory.mktemp("fuzz")
    with scenes(folder, until="sealed")["sealed"].opened(folder / "copy") as made:
        made.people["nobody"] = Person(made.client, "", "")
        yield made


@pytest.fixture(scope="module")
def operations(made: House) -> dict[str, Any]:
    """The operations of the document that the running app serves."""
    schema = schemathesis.openapi.from_dict(made.client.get("/openapi.json").json())
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.definition.raw["operationId"]: operation for operation in found}


@pytest.mark.parametrize("name", ORDER)
def test_a_sample_of_cases_as_everybody(made: House, operations: dict[str, Any], name: str) -> None:
    """A few cases of each kind, valid and not; the same ones in each run."""
    sent = send_cases(made, operations[name], SAMPLE)
    assert sent >= SAMPLE * len(ROLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDER)
def test_fifty_cases_as_everybody(made: House, operations: dict[str, Any], name: str) -> None:
    """At least fifty cases of every operation as each role and as nobody."""
    sent = send_cases(made, operations[name], WHOLE)
    assert sent >= WHOLE * len(ROLES)


def send_cases(made: House, operation: Any, least: int) -> int:
    """Send at least `least` cases to an operation as everybody; return how many answers were checked."""
    sent = 0
    known = known_objects(made)
    modes = [operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)]

    @hypothesis.settings(
        max_examples=least,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=st.one_of(modes), real=st.booleans())
    def one(case: Any, real: bool) -> None:
        nonlocal sent
        request = case.as_transport_kwargs(base_url="https://gateway.test")
        if real:
            request = naming(request, operation.path, case, known)
        for role in ROLES:
            response = made.client.request(**as_somebody(request, made[role]))
            case.validate_response(response, checks=CHECKS)
            assert response.headers["x-correlation-id"]
            sent += 1

    # Hypothesis may run out of different cases for an operation without parameters; those are then sent again.
    while sent < least * len(ROLES):
        one()
    return sent


def as_somebody(request: dict[str, Any], person: Person) -> dict[str, Any]:
    """The same request under somebody's token; nobody's keeps what was made up for it."""
    request = {name: value for name, value in request.items() if name != "cookies"}
    if isinstance(request.get("data"), bytes):
        request["content"] = request.pop("data")
    headers = {name: value for name, value in request["headers"].items() if name.lower() != "authorization"}
    if person.token:
        headers["Authorization"] = f"Bearer {person.token}"
    elif "Authorization" in request["headers"]:
        headers["Authorization"] = request["headers"]["Authorization"]
    return request | {"headers": headers}


def known_objects(made: House) -> dict[str, str]:
    """Identifiers that exist, by the names that parameters and members have."""
    ids = made.ids
    return {
        "dataset": ids["dataset"],
        "population": ids["population"],
        "version": ids["version"],
        "report": ids["report"],
        "grant": ids["grant of peer"],
        "job": ids["job of trainer"],
        "release": ids["release of trainer"],
        "principal": made["outsider"].principal,
        "credential": made["member"].credential,
        "purpose": "research/oncology",
    }


def naming(request: dict[str, Any], template: str, case: Any, known: dict[str, str]) -> dict[str, Any]:
    """The request with identifiers that exist, a fresh Idempotency-Key and a version that always fits."""
    parameters = {name: str(value) for name, value in (case.path_parameters or {}).items()} | known
    changed = dict(request)
    with suppress(KeyError, IndexError, ValueError):
        changed["url"] = "https://gateway.test" + template.format(**parameters)
    changed["headers"] = dict(request["headers"]) | {"Idempotency-Key": secrets.token_hex(8), "If-Match": "*"}
    if isinstance(request.get("json"), dict):
        changed["json"] = replaced(request["json"], known)
    return changed


def replaced(value: Any, known: dict[str, str]) -> Any:
    """A body whose members of known names hold identifiers that exist."""
    if isinstance(value, list):
        return [replaced(item, known) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: known.get(name, replaced(item, known)) for name, item in value.items()}
