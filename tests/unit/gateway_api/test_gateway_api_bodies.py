"""What a JSON body must be before anything looks at what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gateway.api import json_route
from gateway.api.examples import EXAMPLES
from tests.support.api import House, dataset_body, grant_body, job_body, population_body, refused
from tests.support.asgi import HANG, ask, piece

WIDE = {
    "columns": [
        {"name": "a", "kind": "numeric", "low": "0", "high": "1", "clamp": True, "missing": ["-"], "fill": "0.5"},
        {"name": "b", "kind": "categorical", "categories": ["x", "y"]},
        {"name": "c", "kind": "tensor", "shape": [2, 2], "low": "0", "high": "1"},
    ]
}
JSON = {"Content-Type": "application/json"}


def sent(made: House, content: Any, **headers: str) -> Any:
    """Send raw bytes where a purpose is defined."""
    headers = {"Idempotency-Key": "0" * 16} | headers
    return made["admin"].ask("POST", "/v1/purposes", content=content, headers=headers)


@pytest.mark.parametrize(
    "content",
    [
        b'{"purpose": "a", "purpose": "b"}',
        b'{"purpose": "\xff"}',
        b'{"purpose": NaN}',
        b'{"purpose": 1.5}',
        b'{"purpose": 123456789012345678901234567890}',
        b'{"purpose": "\\ud800"}',
        b'{"purpose": ',
        b"[" * 20_000,
        b"[" * 100 + b"]" * 100,
        b"\xef\xbb\xbf{}",
        b"\x00",
    ],
    ids=["twice", "not-utf8", "nan", "float", "huge", "surrogate", "cut", "deep-cut", "deep", "bom", "nul"],
)
def test_json_that_two_readers_may_understand_differently_is_refused(made: House, content: bytes) -> None:
    """One answer for all of them, which says how to write it instead."""
    problem = refused(sent(made, content, **JSON), 422, "invalid")
    assert problem["field"] == "body"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"]
)
def test_a_body_says_that_it_is_json(made: House, kind: str) -> None:
    """415, so that no browser form is ever taken for a request."""
    refused(sent(made, b'{"purpose": "teaching"}', **{"Content-Type": kind}), 415, "unsupported-media-type")


def test_an_absent_body_is_a_missing_field(made: House) -> None:
    """422, not an error of the server."""
    refused(sent(made, b"", **JSON), 422, "invalid")


def test_a_body_is_bounded_by_what_it_says_and_by_what_it_is(made: House) -> None:
    """413 before the first byte is read where the length is declared, and in the middle where it is not."""
    declared = str(json_route.JSON_LIMIT + 1)
    refused(sent(made, b"{}", **JSON, **{"Content-Length": declared}), 413, "too-large")
    pieces = (b" " * 2**16 for _ in range(json_route.JSON_LIMIT // 2**16 + 1))
    refused(sent(made, pieces, **JSON), 413, "too-large")


def test_a_body_that_does_not_come_is_given_up(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """408: a slow sender holds no connection for long."""
    monkeypatch.setattr(json_route, "READ_SECONDS", 0.05)
    headers = JSON | {"Authorization": f"Bearer {made['admin'].token}"}
    answer = ask(made.client.app, "POST", "/v1/purposes", headers, [piece(b'{"purpose"'), HANG])
    assert (answer.status, answer.json()["code"]) == (408, "request-timeout")


@pytest.mark.parametrize("odd", [None, True, -1, "x", "1e400", [[]], {"a": 1}], ids=repr)
def test_no_oddity_inside_a_declaration_is_an_error_of_the_server(made: House, odd: Any) -> None:
    """One odd value at any place of a valid body: accepted, denied or refused, and never a 500."""
    owner, trainer, admin = made["owner"], made["trainer"], made["admin"]
    obligations = {"trainer_share": "1", "approval_required": False, "max_epsilon": "1", "auto_release_epsilon": "1"}
    bodies = [
        (owner, "POST", "/v1/datasets", dataset_body(made.ids["population"], schema=WIDE)),
        (owner, "POST", "/v1/populations", population_body(larger_delta_reason="public data")),
        (owner, "POST", "/v1/grants", grant_body(made["peer"].principal, made.ids["dataset"], obligations=obligations)),
        (trainer, "POST", "/v1/quotes", quoted_spec(made)),
        (admin, "PUT", "/v1/policy", EXAMPLES["setPolicy"]),
    ]
    for person, method, path, body in bodies:
        for changed in with_one_oddity(body, odd):
            response = person.ask(method, path, changed, headers={"If-Match": '"0"'})
            assert response.status_code in (200, 201, 403, 404, 409, 412, 413, 422), (changed, response.text)


def quoted_spec(made: House) -> Any:
    """A request for a job in its final form, with every member there is."""
    spec = made["trainer"].post("/v1/quotes", job_body(made.ids["dataset"])).json()["spec"]
    return {"spec": spec}


def with_one_oddity(value: Any, odd: Any) -> Iterator[Any]:
    """The value with each of its places, one at a time, holding something odd."""
    yield odd
    if isinstance(value, Mapping):
        for name in value:
            for changed in with_one_oddity(value[name], odd):
                yield {**value, name: changed}
    elif isinstance(value, list):
        for place, item in enumerate(value):
            for changed in with_one_oddity(item, odd):
                yield [*value[:place], changed, *value[place + 1 :]]


def test_no_body_of_nobody_is_read(made: House) -> None:
    """401 comes first, whatever the body is."""
    response = made.client.post("/v1/purposes", content=b"[" * 100, headers=JSON)
    refused(response, 401, "unauthenticated")


def test_numbers_stay_numbers_and_text_stays_text(made: House) -> None:
    """A body is not coerced: a count as text or an amount as a number is refused by its field."""
    problem = refused(made["admin"].post("/v1/principals", {"name": "x", "token_days": "5"}), 422)
    assert problem["field"] == "token_days"
    path = f"/v1/populations/{made.ids['population']}/budget"
    problem = refused(made["owner"].put(path, {"epsilon": 9}, headers={"If-Match": "*"}), 422)
    assert problem["field"] == "epsilon"


def test_every_example_of_the_document_is_a_body_of_its_operation(made: House) -> None:
    """An example passes the shape of its body; what it names need not exist."""
    document = made.client.get("/openapi.json").json()
    bodies = {
        operation["operationId"]: operation["requestBody"]["content"]["application/json"]["examples"]["example"][
            "value"
        ]
        for item in document["paths"].values()
        for operation in item.values()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert len(bodies) == 18
    paths = {o["operationId"]: (m, p) for p, item in document["paths"].items() for m, o in item.items()}
    for operation, example in bodies.items():
        method, path = paths[operation]
        for name in ("principal", "party", "population", "job", "release"):
            prefix = {"principal": "prn", "party": "pty"}.get(name, name[:3])
            path = path.replace("{" + name + "}", f"{prefix}_" + "a" * 26)
        path = path.replace("{home}", "2")
        response = made["member"].ask(
            method.upper(), path, example, headers={"If-Match": "*", "Idempotency-Key": "k" * 16}
        )
        assert response.status_code in (403, 404), (operation, response.text)


def test_the_document_says_how_to_sign_in_and_how_refusals_look(made: House) -> None:
    """A bearer scheme for every operation of `/v1`, and problem documents for every refusal."""
    document = made.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["accessToken"]["scheme"] == "bearer"
    for path, item in document["paths"].items():
        for operation in item.values():
            if path.startswith("/v1"):
                assert operation["security"] == [{"accessToken": []}]
                refusals = {s: r for s, r in operation["responses"].items() if s >= "400"}
                assert {"401", "403", "422", "503"} <= set(refusals)
                assert all(set(r["content"]) == {"application/problem+json"} for r in refusals.values())
    assert json.dumps(document).count("HTTPValidationError") == 0


def test_only_a_job_request_may_hold_a_model(made: House) -> None:
    """Five MiB are read where a request may have given weights, and nowhere else; nine are too many for anybody."""
    large = {"spec": {"dataset": "dst_" + "a" * 26, "purpose": "research", "padding": "x" * (5 << 20)}}
    assert made["trainer"].post("/v1/quotes", large).status_code != 413
    refused(made["admin"].post("/v1/purposes", {"purpose": "x" * (5 << 20), "within": []}), 413)
    larger = {"spec": {"padding": "x" * (9 << 20)}}
    refused(made["trainer"].post("/v1/quotes", larger), 413)
