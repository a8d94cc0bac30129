"""Requests for jobs on data of sites: completed once, read back strictly, and bound by one digest."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.amounts import Delta
from kernel.errors import InvalidError, NotFoundError, PrivgateError
from kernel.ids import DatasetId
from privacy.homomorphic.glm.plan import ExactGlm
from privacy.homomorphic.noise import Protected
from privacy.homomorphic.requests.kinds import CollectionKind, gaussians_after, gaussians_by_round
from privacy.homomorphic.requests.questions import QUESTIONS
from privacy.homomorphic.requests.spec import (
    CollectionOpening,
    CollectionSpec,
    common_schema,
    complete_collection,
    is_collection,
    layout_of,
)
from privacy.schema import TableSchema

AGE = {"name": "age", "kind": "numeric", "low": "0", "high": "120", "clamp": True}
ILL = {"name": "ill", "kind": "boolean"}
OTHER = {"name": "other", "kind": "numeric", "low": "0", "high": "1"}
SCHEMA = TableSchema.from_json({"columns": [AGE, ILL, OTHER]})
DELTA = Delta.parse("0.000001")
SITES = [f"dst_{letter * 26}" for letter in "abc"]
GLM: dict[str, Any] = {
    "kind": "he.glm", "datasets": SITES, "purpose": "research", "key_holder": "pty_" + "a" * 26, "result": "exact",
    "family": "logistic", "outcome": "ill", "predictors": ["age"],
}  # fmt: skip
STATISTICS: dict[str, Any] = {
    **{name: GLM[name] for name in ("datasets", "purpose", "key_holder", "result")},
    "kind": "he.statistics", "queries": [{"kind": "mean", "column": "age"}], "covariances": [["age", "other"]],
}  # fmt: skip


def completed(body: dict[str, Any], *schemas: TableSchema) -> CollectionSpec:
    """The final form of a request over three sites."""
    return complete_collection(body, schemas or [SCHEMA] * len(body["datasets"]), 1, DELTA, 600)


NOISED: dict[str, Any] = {**GLM, "result": "noised", "epsilon": "1"}
AVERAGE: dict[str, Any] = {
    **{name: GLM[name] for name in ("datasets", "purpose", "key_holder")},
    "kind": "he.aggregate", "result": "noised", "epsilon": "2", "label": "ill", "clip": "1", "rate": "0.5", "rounds": 3,
}  # fmt: skip
UPDATES: dict[str, Any] = {
    **{name: value for name, value in AVERAGE.items() if name != "epsilon"}, "result": "exact", "weights": [1, 2, 3],
}  # fmt: skip
FIVE = [f"dst_{letter * 26}" for letter in "abcde"]


@pytest.mark.parametrize(
    "body",
    [GLM, STATISTICS, NOISED, AVERAGE, AVERAGE | {"bounded": "update"}, UPDATES],
    ids=["glm", "statistics", "noised-glm", "persons", "updates", "exact-updates"],
)
def test_a_completed_request_reads_back_and_completes_to_itself(body: dict[str, Any]) -> None:
    """The final form is a fixed point: its digest is what everybody approves."""
    spec = completed(body)
    again = CollectionSpec.from_json(spec.to_json())
    assert (again, again.digest) == (spec, spec.digest)
    assert completed(spec.to_json()).digest == spec.digest
    assert (spec.round_seconds, spec.least_persons) == (3600, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"datasets": SITES[::-1]},
        {"key_holder": "pty_" + "b" * 26},
        {"round_seconds": 60},
        {"least_persons": 6},
        {"ridge": "0.5"},
        {"most_rounds": 5},
        {"predictors": ["other"]},
        {"family": "poisson", "outcome": "other"},
    ],
)
def test_whatever_changes_the_job_changes_its_digest(change: dict[str, Any]) -> None:
    """Nobody's yes to one request counts for another."""
    try:
        other = completed(GLM | change).digest
    except InvalidError:
        other = None  # this family does not take such an outcome, which is a refusal and no other digest
    assert other != completed(GLM).digest


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"datasets": SITES[:2]}, "datasets"),
        ({"datasets": [*SITES, SITES[0]]}, "datasets"),
        ({"datasets": "all"}, "datasets"),
        ({"datasets": [f"dst_{'a' * 25}{letter}" for letter in "abcdefghijklmnopq"]}, "datasets"),
        ({"result": "noised"}, "epsilon"),
        ({"result": "noised", "epsilon": "1", "ridge": "0.5"}, "ridge"),
        ({"result": "noised", "epsilon": "1", "most_rounds": 3}, "most_rounds"),
        ({"counted": "row"}, "counted"),
        ({"epsilon": "1"}, "epsilon"),
        ({"result": None}, "result"),
        ({"kind": ["he.glm"]}, "kind"),
        ({"kind": "glm"}, "kind"),
        ({"v": 2}, "v"),
        ({"v": True}, "v"),
        ({"seed": 1}, "request"),
        ({"round_seconds": 0}, "round_seconds"),
        ({"round_seconds": "60"}, "round_seconds"),
        ({"least_persons": 4}, "least_persons"),
        ({"most_rounds": 11}, "most_rounds"),
        ({"ridge": 0.5}, "ridge"),
        ({"predictors": ["height"]}, "predictors"),
        ({"outcome": "age"}, None),
        ({"profile": "bfv-4096-public"}, None),
        ({"profile": "ckks-4096-linear"}, None),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_by_name(change: dict[str, Any], field: str | None) -> None:
    """The error names the member and repeats no value."""
    body = {name: value for name, value in (GLM | change).items() if value is not None}
    with pytest.raises(InvalidError) as caught:
        completed(body)
    assert field in (None, caught.value.field)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"local_steps": 3}, "local_steps"),
        ({"weights": [1, 1, 1]}, "weights"),
        ({"bounded": "update", "public_size": 600}, "public_size"),
        ({"bounded": "update", "weights": [1, 2]}, "weights"),
        ({"bounded": "update", "weights": [0, 1, 1]}, None),
        ({"bounded": "nobody"}, "bounded"),
        ({"public_size": 0}, "public_size"),
        ({"dropouts": 1}, "dropouts"),
        ({"datasets": FIVE, "dropouts": 3}, "dropouts"),
        ({"datasets": FIVE, "dropouts": 1, "tolerated": 1}, "tolerated"),
        ({"datasets": FIVE, "dropouts": 1, "bounded": "update", "weights": [1, 1, 1, 1, 2]}, "dropouts"),
        ({"datasets": FIVE, "dropouts": 1, "result": "exact", "epsilon": None}, "dropouts"),
        ({"rounds": 201}, "rounds"),
    ],
)
def test_a_federated_model_that_breaks_a_rule_is_refused_by_name(change: dict[str, Any], field: str | None) -> None:
    """Persons have a declared size and no weights, updates the other way round; who is missing is tolerated."""
    body = {name: value for name, value in (AVERAGE | change).items() if value is not None}
    with pytest.raises(InvalidError) as caught:
        completed(body)
    assert field in (None, caught.value.field)


def test_what_noise_protects_follows_from_what_is_bounded() -> None:
    """A person by default, whose sum is over what the populations declare; a site's update where that is asked for."""
    persons, updates = completed(AVERAGE), completed(AVERAGE | {"bounded": "update"})
    assert (persons.to_json()["public_size"], persons.question.protects) == (600, Protected.PERSON)
    assert (updates.to_json()["weights"], updates.question.protects) == ([1, 1, 1], Protected.UPDATE)
    assert completed(UPDATES).to_json()["bounded"] == "update"


def test_one_more_is_tolerated_than_may_be_missing() -> None:
    """Without a word on it; with noise for all rounds together."""
    spec = completed(AVERAGE | {"datasets": FIVE, "dropouts": 2})
    assert spec.privacy is not None
    assert spec.privacy.tolerated == 3
    noise = spec.plan(common_schema(spec.question, [SCHEMA]), 1).noise
    assert noise == spec.privacy.noise(5, 3)
    assert noise.noise_multiplier.number > spec.privacy.noise(5, 1).noise_multiplier.number


def test_rounds_are_the_plan_s_own() -> None:
    """Those of the family with noise, those of the request else; how many Gaussians that is, is the kind's."""
    for body, rounds, gaussians in ((GLM, 10, None), (NOISED, 6, 1), (AVERAGE, 3, 3), (STATISTICS, 1, None)):
        spec = completed(body)
        plan = spec.plan(common_schema(spec.question, [SCHEMA]), 1)
        assert plan.rounds == rounds
        assert [use.times for use in plan.uses()] == ([] if gaussians is None else [gaussians])


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        (CollectionKind.HE_AGGREGATE, [0, 1, 2, 3]),
        (CollectionKind.HE_GLM, [0, 1, 1, 1]),
        (CollectionKind.HE_STATISTICS, [0, 1, 1, 1]),
    ],
)
def test_what_rounds_use_up_is_said_in_one_place(kind: CollectionKind, used: list[int]) -> None:
    """Gateway, certificate, verifier and agents charge by it: the first round of some kinds pays for all."""
    assert [gaussians_after(kind, rounds) for rounds in range(4)] == used
    assert [sum(gaussians_by_round(kind, 3)[:rounds]) for rounds in range(4)] == used


def test_nobody_asks_a_site_whether_it_has_so_many_persons() -> None:
    """Of a noised result: who declines is a bit without noise, and a row of such jobs would count the people."""
    noised = completed(STATISTICS | {"result": "noised", "epsilon": "1"})
    for least in (6, 1000):
        with pytest.raises(InvalidError) as caught:
            completed(STATISTICS | {"result": "noised", "epsilon": "1", "least_persons": least})
        with pytest.raises(InvalidError):
            CollectionSpec.from_json(noised.to_json() | {"least_persons": least})
        assert caught.value.field == "least_persons"
    assert completed(STATISTICS | {"least_persons": 6}).least_persons == 6


def test_a_profile_that_is_not_in_the_registry_is_not_found() -> None:
    """There are no free-form parameters."""
    with pytest.raises(NotFoundError):
        completed(GLM | {"profile": "home-made"})


def test_the_shortest_public_key_profile_that_fits_is_taken() -> None:
    """Exact sums of 60 bits need a wide one; the layout says that the sums of all sites fit it."""
    spec = completed(GLM)
    assert spec.profile == "bfv-2048-wide-public"
    layout = layout_of(spec, spec.plan(common_schema(spec.question, [SCHEMA]), 1))
    assert layout.summands == 3
    assert layout.upload_bytes < 100_000


def test_the_columns_that_are_read_are_declared_alike_everywhere_and_others_do_not_matter() -> None:
    """Bounds, categories and fills of two sites are one declaration, or their sums would mean different things."""
    fewer = TableSchema.from_json({"columns": [ILL, AGE]})
    assert completed(GLM, SCHEMA, fewer, SCHEMA).digest == completed(GLM).digest
    wider = TableSchema.from_json({"columns": [AGE | {"high": "121"}, ILL, OTHER]})
    with pytest.raises(InvalidError, match="`age`"):
        completed(GLM, SCHEMA, wider, SCHEMA)
    with pytest.raises(InvalidError, match="`other`"):
        completed(STATISTICS, SCHEMA, fewer, SCHEMA)


def test_a_plan_holds_what_is_read_and_nothing_else() -> None:
    """The order that sites get has the columns of the question, in the first site's words."""
    spec = completed(GLM)
    plan = spec.plan(common_schema(spec.question, [SCHEMA] * 3), 1)
    assert isinstance(plan, ExactGlm)
    assert [column.name for column in plan.schema.columns] == ["age", "ill"]
    assert QUESTIONS[CollectionKind.HE_GLM].read_plan(plan.to_json()) == plan


def test_an_opening_is_read_before_anything_else() -> None:
    """Kind, datasets and purpose, of any request; whatever else is in it is not looked at."""
    opening = CollectionOpening.of(GLM | {"family": 7})
    assert (opening.kind, opening.datasets) == (CollectionKind.HE_GLM, tuple(map(DatasetId, SITES)))
    for change in ({"purpose": 1}, {"purpose": "No Slug"}, {"datasets": [1]}, {"kind": None}):
        with pytest.raises(PrivgateError):
            CollectionOpening.of(GLM | change)


@pytest.mark.parametrize(
    ("kind", "answer"), [("he.glm", True), ("glm", False), (None, False), ([], False), ({}, False)]
)
def test_a_request_says_itself_whether_it_is_for_sites(kind: object, answer: bool) -> None:
    """Whatever is written in its place."""
    assert is_collection({"kind": kind}) is answer
