"""RULES 13: the exact count is the owner's alone.

One cycle is walked twice, over 90 rows and over 1,500 with the same declarations. Everything that a trainer or an
auditor can fetch has the same members, the same numbers and the same lengths both times.
"""

from __future__ import annotations

import base64
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import (
    House,
    dataset_body,
    done,
    grant_body,
    house,
    job_body,
    population_body,
    refused,
    rows_csv,
    worker_of,
)

FEW, MANY = 90, 1500
RECIPE = {"steps": 10, "expected_batch": 64}
FILES = ("artifact", "certificate.json", "receipt.tlog-proof", "MODEL_CARD.md")
NAMES = re.compile(r"[a-z]+_[a-z2-7]{26}|[0-9a-f]{64}")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@dataclass
class Seen:
    """What was fetched, by who asked for what, in a form without ids, times, digests and signatures."""

    rows: dict[str, int]
    forms: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Seen, Seen]:
    """The two walks."""
    few, many = (_walk(tmp_path_factory.mktemp("walk") / "home", count) for count in (FEW, MANY))
    return few, many


def test_the_owner_sees_the_difference(both: tuple[Seen, Seen]) -> None:
    """The walks differ in what is to be kept, on both sides of the split."""
    few, many = both
    assert (sum(few.rows.values()), sum(many.rows.values())) == (FEW, MANY)
    assert all(few.rows[side] < many.rows[side] for side in few.rows)


def test_nobody_else_does(both: tuple[Seen, Seen]) -> None:
    """Answers, headers, files, log, archive, report: one form, whatever the number of rows."""
    few, many = both
    assert few.forms.keys() == many.forms.keys()
    assert len(few.forms) >= 50
    assert _differences(few.forms, many.forms) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"rows": 90}, {"rows": 1500}),
        ({"rows": "90"}, {"rows": "91"}),
        ({"parts": [1]}, {"parts": [1, 1]}),
        ({"parts": {}}, {"parts": {}, "rows": None}),
        ({"digest": "ab"}, {"digest": "abc"}),
    ],
)
def test_a_form_tells_counts_apart(one: Any, other: Any) -> None:
    """What the comparison rests on."""
    assert _form(json.dumps(one).encode(), "application/json") != _form(json.dumps(other).encode(), "application/json")


def _walk(home: Path, count: int) -> Seen:
    with house(home) as made:
        dataset, version = _register(made, count)
        seen = Seen(done(made["owner"].get(version))["rows"])
        model = _released(made, dataset, recipe=RECIPE)
        evaluation = _released(made, dataset, v=1, kind="evaluation", label=None, release=model.rpartition("/")[2])
        _trainer(made, seen, dataset, {"model": model, "evaluation": evaluation})
        _auditor(made, seen)
        for name in ("trainer", "auditor", "peer"):
            _everybody(made, seen, name, dataset, version)
    return seen


def _register(made: House, count: int) -> tuple[str, str]:
    admin, owner, trainer = made["admin"], made["owner"], made["trainer"]
    for purpose, within in (("research", []), ("research/oncology", ["research"])):
        done(admin.post("/v1/purposes", {"purpose": purpose, "within": within}), 201)
    made.ids["population"] = done(owner.post("/v1/populations", population_body()), 201)["population"]
    dataset = done(owner.post("/v1/datasets", dataset_body(made.ids["population"])), 201)["dataset"]
    done(owner.post("/v1/grants", grant_body(trainer.principal, dataset)), 201)
    sent = owner.put(f"/v1/datasets/{dataset}/content", content=rows_csv(count))
    done(sent, 202)
    assert worker_of(made).step()
    return dataset, sent.headers["location"]


def _released(made: House, dataset: str, **changes: Any) -> str:
    job = done(made["trainer"].post("/v1/jobs", job_body(dataset, **changes)), 202)["job"]
    assert worker_of(made).step()
    release = f"/v1/releases/{done(made['trainer'].get(f'/v1/jobs/{job}'))['release']}"
    done(made["owner"].post(f"{release}/check", {"verdict": "release"}))
    made.settle()
    return release


def _trainer(made: House, seen: Seen, dataset: str, releases: Mapping[str, str]) -> None:
    trainer = made["trainer"]
    _keep(seen, "trainer quote", trainer.post("/v1/quotes", job_body(dataset, recipe=RECIPE)))
    too_much = trainer.post("/v1/jobs", job_body(dataset, epsilon="50"))
    refused(too_much, 409, "budget-exhausted")
    _keep(seen, "trainer too much", too_much)
    for kind, release in releases.items():
        for name in FILES:
            noisy = (kind, name) == ("evaluation", "artifact")
            _fetch(made, seen, "trainer", f"{release}/files/{name}", f"{kind} {name}", noisy=noisy)
        job = done(trainer.get(release))["job"]
        for path in (release, f"/v1/jobs/{job}", f"/v1/jobs/{job}/events"):
            _fetch(made, seen, "trainer", path, f"{kind} {path}")


def _auditor(made: House, seen: Seen) -> None:
    made.settle()
    report = done(made["auditor"].post("/v1/reports", {}), 201)["report"]
    paths = [f"/v1/reports/{report}/files/{name}" for name in ("report.json", "report.html")]
    paths += ["/v1/entries?limit=1000", "/v1/trust", "/v1/log/checkpoint", "/v1/archive", "/v1/reports"]
    for path in paths:
        _fetch(made, seen, "auditor", path)


def _everybody(made: House, seen: Seen, name: str, dataset: str, version: str) -> None:
    population = made.ids["population"]
    paths = ["datasets", f"datasets/{dataset}", "populations", f"populations/{population}", "grants", "jobs"]
    paths += ["releases", "purposes", "policy", "principals"]
    for path in (*(f"/v1/{path}" for path in paths), version, "/readyz"):
        _fetch(made, seen, name, path)


def _fetch(made: House, seen: Seen, name: str, path: str, what: str = "", *, noisy: bool = False) -> None:
    """Ask once the log has caught up, so that both walks read it at the same size."""
    made.settle()
    _keep(seen, f"{name} {what or path}", made[name].get(path), noisy=noisy)


def _keep(seen: Seen, name: str, answer: Any, *, noisy: bool = False) -> None:
    """Keep the form of an answer; of noisy counts, which are paid for, the members alone. Its length is in the form."""
    kind = "noisy.json" if noisy else answer.headers["content-type"].partition(";")[0]
    headers = {key: _text(value) for key, value in answer.headers.items() if key not in {"date", "content-length"}}
    seen.forms[NAMES.sub("*", name)] = (answer.status_code, headers, _form(answer.content, kind))


def _form(content: bytes, kind: str) -> Any:
    if kind == "application/x-tar":
        return _members(content)
    if not kind.endswith("json"):
        return _length(content)
    form = _shape(json.loads(content), exact=kind != "noisy.json")
    if kind == "noisy.json":
        form.pop("auc", None)  # left out where the noisy counts of a class are none
        form["calibration"].pop("cells")  # null where the noisy counts of a cell are too few
    # Pages are in the order of random ids.
    return sorted(form, key=json.dumps) if isinstance(form, list) else form


def _members(content: bytes) -> Any:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        files = [(member.name, tar.extractfile(member)) for member in tar.getmembers()]
        return sorted((NAMES.sub("*", name), _length(file.read())) for name, file in files if file is not None)


def _length(content: bytes) -> int:
    """Bytes without the self-test's figures: drawn anew in every run, they differ in their digits."""
    try:
        statement = json.loads(base64.b64decode(json.loads(content)["payload"]))
        statement["predicate"]["self_test"] = _shape(statement["predicate"]["self_test"], exact=False)
        return len(json.dumps(statement))
    except (ValueError, KeyError, TypeError):
        return len(re.sub(rb"(?s)## What was tested.*?(?=\n## )|one-run lower bound [0-9.]+", b"", content))


def _shape(value: Any, *, exact: bool) -> Any:
    """Members and numbers as they are; of other texts their length."""
    if isinstance(value, Mapping):
        return {NAMES.sub("*", key): _member(key, inner, exact=exact) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner, exact=exact) for inner in value]
    if isinstance(value, str):
        return _text(value) if exact else "text"
    return value if exact or value is None else "number"


def _member(key: str, value: Any, *, exact: bool) -> Any:
    if key == "payload" and isinstance(value, str):
        return _shape(json.loads(base64.b64decode(value)), exact=exact)
    # The reading itself has an entry, which the newest checkpoint may cover by the time it is looked up, or not.
    return _shape(value, exact=exact and key not in {"self_test", "last_seen"})


def _text(value: str) -> str | int:
    return value if NUMBER.fullmatch(value) else len(value)


def _differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two forms differ, for whoever has to find out why."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [found for key in one for found in _differences(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for place_, pair in pairs for found in _differences(*pair, f"{place}/{place_}")]
    return [] if one == other else [f"{place}: {one!r} and {other!r}"]
