"""What spends or starts something happens once, however often it is sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.api import House, dataset_body, done, grant_body, population_body, refused


def keyed(key: str) -> dict[str, Any]:
    """A header with a key of the caller's choice."""
    return {"headers": {"Idempotency-Key": key}}


def test_the_same_request_again_gets_the_same_answer_and_no_second_effect(made: House) -> None:
    """The second answer is the first one's, marked as a repetition; the log has one effect."""
    before = [entry["type"] for entry in made.log()].count("population:created")
    first = made["owner"].post("/v1/populations", population_body(), **keyed("same-request"))
    second = made["owner"].post("/v1/populations", population_body(), **keyed("same-request"))
    assert done(second, 201) == done(first, 201)
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert [entry["type"] for entry in made.log()].count("population:created") == before + 1


def test_the_same_key_for_another_request_is_refused(made: House) -> None:
    """Another body, or another route with the same body."""
    done(made["owner"].post("/v1/populations", population_body(), **keyed("other-request")), 201)
    changed = made["owner"].post("/v1/populations", population_body(public_size=501), **keyed("other-request"))
    assert refused(changed, 409, "conflict")["field"] == "Idempotency-Key"
    dataset = dataset_body(made.ids["population"])
    refused(made["owner"].post("/v1/datasets", dataset, **keyed("other-request")), 409, "conflict")


def test_a_key_belongs_to_whoever_sent_it(made: House) -> None:
    """Two people may choose the same key and learn nothing of each other."""
    first = done(made["owner"].post("/v1/populations", population_body(), **keyed("shared-key")), 201)
    second = done(made["other-owner"].post("/v1/populations", population_body(), **keyed("shared-key")), 201)
    assert first["population"] != second["population"]
    assert second["owner"] == made["other-owner"].principal


def test_a_refused_request_may_be_sent_again(made: House) -> None:
    """A denial is not remembered: asked again, it is decided again, and logged again."""
    body = grant_body(made["peer"].principal, made.ids["dataset"])
    problems = [refused(made["trainer"].post("/v1/grants", body, **keyed("denied-key")), 403) for _ in range(2)]
    assert problems[0]["decision"] != problems[1]["decision"]
    assert {problem["decision"] for problem in problems} <= set(made.decisions())


def test_at_the_same_time_it_still_happens_once(made: House) -> None:
    """Sixteen at once under one key: one effect, one answer for all."""
    before = [entry["type"] for entry in made.log()].count("grant:created")
    body = grant_body(made["peer"].principal, made.ids["dataset"])

    def send(_: int) -> Any:
        return made["owner"].post("/v1/grants", body, **keyed("all-at-once"))

    with ThreadPoolExecutor(16) as pool:
        answers = [done(response, 201) for response in pool.map(send, range(16))]
    assert len({answer["grant"] for answer in answers}) == 1
    assert [entry["type"] for entry in made.log()].count("grant:created") == before + 1


@pytest.mark.parametrize("key", ["short", "x" * 129, "with\ttab-in-it"])
def test_a_key_has_a_form(made: House, key: str) -> None:
    """8 to 128 printable ASCII characters."""
    refused(made["owner"].post("/v1/populations", population_body(), **keyed(key)), 422, "invalid")


def test_a_report_is_issued_once_under_its_key(made: House) -> None:
    """It takes several units of work; the last one has the effect, and keeps the answer."""
    before = [entry["type"] for entry in made.log()].count("report:issued")

    def send(_: int) -> Any:
        return made["auditor"].post("/v1/reports", {"frameworks": ["gdpr"]}, **keyed("one-report"))

    with ThreadPoolExecutor(4) as pool:
        answers = [done(response, 201) for response in pool.map(send, range(4))]
    assert len({answer["report"] for answer in answers}) == 1
    assert [entry["type"] for entry in made.log()].count("report:issued") == before + 1
    assert send(0).headers["idempotency-replayed"] == "true"
    changed = made["auditor"].post("/v1/reports", {"frameworks": ["pipl"]}, **keyed("one-report"))
    assert refused(changed, 409, "conflict")["field"] == "Idempotency-Key"
    problems = [refused(made["owner"].post("/v1/reports", {}, **keyed("no-report")), 403) for _ in range(2)]
    assert problems[0]["decision"] != problems[1]["decision"]


@pytest.mark.parametrize("path", ["/v1/populations", "/v1/datasets", "/v1/grants", "/v1/jobs", "/v1/reports"])
def test_whatever_spends_or_starts_needs_a_key(made: House, path: str) -> None:
    """Without one nothing happens."""
    bodies = {
        "/v1/populations": population_body(),
        "/v1/datasets": dataset_body(made.ids["population"]),
        "/v1/grants": grant_body(made["peer"].principal, made.ids["dataset"]),
        "/v1/jobs": {"spec": {}},
        "/v1/reports": {},
    }
    headers = {"Authorization": f"Bearer {made['owner'].token}"}
    response = made.client.post(path, json=bodies[path], headers=headers)
    assert refused(response, 422, "idempotency-key-missing")["field"] == "Idempotency-Key"
