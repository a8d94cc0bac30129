"""Every refusal is a problem document that says what to mend and repeats nothing of what was sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.api import bodies
from gateway.api.faults import pattern_rule
from kernel.errors import CorruptError, Kind
from tests.support.api import House, dataset_body, done, job_body, refused

SECRET = "kept-between-us-8461"


def test_an_unknown_path_is_a_problem(made: House) -> None:
    """404 without a word of the path."""
    assert SECRET not in json.dumps(refused(made.client.get(f"/{SECRET}"), 404, "not-found"))


def test_a_wrong_method_is_a_problem_that_lists_the_right_ones(made: House) -> None:
    """405 with Allow."""
    response = made["admin"].ask("DELETE", "/v1/self")
    refused(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "GET"


def test_nobody_is_told_how_to_sign_in(made: House) -> None:
    """401 with the scheme, whatever is wrong with the header."""
    for header in (
        {},
        {"Authorization": "Basic eA=="},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {SECRET}"},
    ):
        response = made.client.get("/v1/self", headers=header)
        assert SECRET not in json.dumps(refused(response, 401, "unauthenticated"))
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "body",
    [
        {"name": SECRET, "token_days": SECRET},
        {"name": "x", SECRET: 1},
        {"name": {SECRET: SECRET}},
        {"name": SECRET * 20},
        [SECRET],
        SECRET,
    ],
)
def test_a_body_of_the_wrong_shape_is_not_echoed(made: House, body: Any) -> None:
    """422 names a field at most, and no value or member name that came from outside."""
    problem = refused(made["admin"].post("/v1/principals", body), 422, "invalid")
    assert SECRET not in json.dumps(problem)
    assert problem["fields"]


@pytest.mark.parametrize("path", [f"/v1/datasets/{SECRET}", "/v1/jobs/dst_" + "a" * 26, f"/v1/grants?dataset={SECRET}"])
def test_an_identifier_of_another_form_is_not_echoed(made: House, path: str) -> None:
    """422, also for identifiers in paths and queries."""
    assert SECRET not in json.dumps(refused(made["owner"].get(path), 422, "invalid"))


@pytest.mark.parametrize(
    "spec",
    [
        {"purpose": SECRET},
        {"epsilon": SECRET},
        {SECRET: 1},
        {"model": {"template": SECRET}},
        {"recipe": {SECRET: "1"}},
        {"recipe": {"clip": SECRET}},
        {"label": SECRET},
        {"features": {SECRET: 1}, "label": None},
    ],
)
def test_a_request_for_a_job_is_not_echoed(made: House, spec: dict[str, Any]) -> None:
    """What a trainer writes into a job never comes back in a refusal."""
    response = made["trainer"].post("/v1/quotes", job_body(made.ids["dataset"], **spec))
    assert response.status_code in (403, 422)
    assert SECRET not in response.text


def test_a_denial_cites_its_decision(made: House) -> None:
    """403 carries reason and decision, and the log holds that decision with the epoch of its policy."""
    problem = refused(made["peer"].post("/v1/quotes", job_body(made.ids["dataset"])), 403, "denied")
    logged = made.decisions()[problem["decision"]]
    assert (logged["verdict"], logged["reason"], problem["reason"]) == ("deny", "grant-missing", "grant-missing")
    assert logged["epoch"] == done(made["admin"].get("/v1/policy"))["epoch"]
    assert logged["request"]["principal"] == made["peer"].principal


def test_an_error_that_nobody_mapped_says_nothing(
    made: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """500 is bare, has the headers of every answer, and its text reaches neither client, log nor server."""

    def fail(*_: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr("gateway.api.people.people.enrol", fail)
    with caplog.at_level(logging.DEBUG):
        response = made["admin"].post("/v1/principals", {"name": "x"})
    problem = refused(response, 500, "internal")
    assert set(problem) == {"type", "title", "status", "detail", "code", "correlation"}
    assert response.headers["x-content-type-options"] == "nosniff"
    written = caplog.text + "".join(capsys.readouterr())
    assert SECRET not in response.text + written


def test_corruption_is_told_to_the_operator_alone(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails its check is a bare 500 too: how it fails may depend on rows."""

    def fail(*_: object) -> None:
        raise CorruptError(SECRET)

    monkeypatch.setattr("gateway.api.people.people.enrol", fail)
    assert SECRET not in json.dumps(refused(made["admin"].post("/v1/principals", {"name": "x"}), 500, "internal"))


def test_an_answer_that_breaks_off_tells_the_server_nothing(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the first bytes are out, the connection is closed and the error's text stays behind."""

    async def fail(*_: object) -> Any:
        yield b"data: 1\n\n"
        raise RuntimeError(SECRET)

    monkeypatch.setattr("gateway.api.jobs._lines", fail)
    monkeypatch.setattr("gateway.api.jobs._decided", _found)
    monkeypatch.setattr(made.client._transport, "raise_server_exceptions", True)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what arrives here is what a server would write down
        made["trainer"].get("/v1/jobs/job_" + "a" * 26 + "/events")
    assert SECRET not in repr(caught.value)
    assert caught.value.__suppress_context__


async def _found(*_: object) -> Any:
    class Found:
        class record:  # noqa: N801 - stands in for a row
            id, dataset, principal = "job", "dataset", "principal"

    return Found


def test_every_answer_has_a_correlation_of_its_own_and_the_headers_of_the_edge(made: House) -> None:
    """The gateway makes the correlation; none is taken from outside."""
    asked = {"x-correlation-id": SECRET}
    answers = [
        made["admin"].get("/v1/self", headers=asked),
        made.client.get("/livez", headers=asked),
        made.client.get("/x"),
    ]
    seen = {answer.headers["x-correlation-id"] for answer in answers}
    assert len(seen) == len(answers)
    assert SECRET not in seen
    for answer in answers:
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_a_full_queue_is_answered_at_once(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 with Retry-After, and nothing was done."""
    writes = made.client.app.state.privgate.writes
    monkeypatch.setattr(writes, "_room", _NoRoom())
    before = len(made.log())
    response = made["admin"].post("/v1/principals", {"name": "x"})
    refused(response, 503, Kind.UNAVAILABLE.value)
    assert response.headers["retry-after"] == "1"
    assert len(made.log()) == before


class _NoRoom:
    def acquire(self, *, blocking: bool) -> bool:
        return False


def test_when_the_journal_is_down_reads_fail_closed(made: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read whose decision cannot be logged is not answered, and readiness says which part is down."""
    monkeypatch.setattr(made.client.app.state.privgate.journal, "_running", False)
    refused(made["owner"].get("/v1/datasets"), 503, "unavailable")
    ready = made.client.get("/readyz")
    assert (ready.status_code, ready.json()["parts"]["journal"]) == (503, False)


@pytest.mark.parametrize(
    ("path", "body", "field", "said"),
    [
        ("/v1/principals", {"name": "x", "token_days": 0}, "token_days", "must be at least 1"),
        ("/v1/principals", {"name": ""}, "name", "must have at least 1 characters"),
        ("/v1/principals", {}, "name", "is missing"),
        ("/v1/principals", {"name": SECRET, SECRET: 1}, "body", "has a member that is not known here"),
        ("/v1/purposes", {"purpose": "Research", "within": []}, "purpose", "must be a lower-case name"),
        ("/v1/populations", {"unit": {"kind": SECRET, "noun": "x"}}, "unit.kind", "must be one of record, column"),
    ],
)
def test_a_malformed_field_is_told_with_its_rule(
    made: House, path: str, body: dict[str, Any], field: str, said: str
) -> None:
    """Whoever sent it learns which field it is and what to write, and reads nothing of what was sent."""
    problem = refused(made["admin"].post(path, body), 422, "invalid")
    assert (problem["field"], SECRET in json.dumps(problem)) == (field, False)
    assert f"`{field}` {said}" in problem["detail"]
    assert said in next(told["rule"] for told in problem["fields"] if told["field"] == field)


@pytest.mark.parametrize("field", ["retention_until", "basis_until"])
def test_a_dataset_that_is_over_before_it_begins_is_a_mistake(made: House, field: str) -> None:
    """It would take rows that no job may ever read."""
    body = dataset_body(made.ids["population"], **{field: "2001-01-01T00:00:00Z"})
    problem = refused(made["owner"].post("/v1/datasets", body), 422, "invalid")
    assert (problem["field"], "has passed" in problem["detail"]) == (field, True)


def test_every_pattern_of_a_body_has_words() -> None:
    """Each pattern in the description of this interface is told in words, never as a pattern."""

    def patterns(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("pattern"), str):
                yield part["pattern"]
            for inner in part.values():
                yield from patterns(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from patterns(inner)

    kinds = [kind for kind in vars(bodies).values() if isinstance(kind, type) and issubclass(kind, bodies.Body)]
    shapes = [kind.model_json_schema() for kind in kinds]
    found = set(patterns(shapes))
    assert len(found) > 5
    assert not [pattern for pattern in found if "openapi" in pattern_rule(pattern)]
