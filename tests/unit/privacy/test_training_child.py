"""The roles `train` and `evaluate` in real confined children: what they hand over, and what they never say."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kernel import canonical
from kernel.canonical import Digest
from privacy.evaluation import runner as evaluation_runner
from privacy.evaluation.design import Design
from privacy.evaluation.report import evaluation_bytes, read_evaluation
from privacy.graph.forward import forward
from privacy.graph.weights import NamedArrays, pack_weights, unpack_weights
from privacy.jobs.assignment import EvaluationAssignment, TrainingAssignment
from privacy.sandbox.endings import Ending
from privacy.sealing.manifest import Split
from privacy.sealing.secret import SecretBytes
from privacy.selftest.claims import Claims
from privacy.selftest.report import SelfTest, failed, judge
from privacy.training import runner as training_runner
from privacy.training.preflight import RehearsalError
from privacy.training.rows import RowEncoder
from privacy.training.savepoints import open_state
from privacy.training.stream import PAIRS
from tests.support import graphs, jobs
from tests.support.jobs import GO, KILL, STOP, converse, converse_here, keys_for

FEW_STEPS = {"steps": 20, "sampling_rate": "0.2"}
QUIET = {"steps": 60, "sampling_rate": "0.5", "learning_rate": "2"}
JOB_KEY = os.urandom(32)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> jobs.Sealed:
    """A train block in two parts."""
    rows = jobs.people(480)
    return jobs.seal([rows.slice(0, 300), rows.slice(300)], tmp_path_factory.mktemp("train"))


def _weights(of: TrainingAssignment, artifact: bytes | None) -> dict[str, Any]:
    assert artifact is not None
    return unpack_weights(of.graph, artifact)


def _design(of: EvaluationAssignment) -> Design:
    return Design.of(of.plan, of.table.features, of.table.schema)


def test_a_model_is_trained_evaluated_and_read(sealed: jobs.Sealed, tmp_path: Path) -> None:
    """The whole way: sealed rows, a released model that predicts, noisy counts that say how well."""
    assignment = jobs.training(sealed, epsilon="50", recipe=QUIET)
    trained = converse(assignment, keys_for(sealed, JOB_KEY), sealed.paths)
    assert trained.ending is Ending.FINISHED
    fresh = jobs.people(400, seed=8)
    rows = RowEncoder(assignment.table.features, jobs.SCHEMA).encode(fresh)
    scores = forward(assignment.model(), _weights(assignment, trained.artifact), rows.features)[:, 0]
    accuracy = ((scores >= 0) == (rows.targets > 0.5)).mean()
    assert accuracy > 0.8

    holdout = jobs.seal([fresh], tmp_path / "holdout", Split.HOLDOUT)
    evaluating = jobs.evaluation(holdout, assignment, epsilon="100")
    body = holdout.key.reveal() + (trained.artifact or b"")
    evaluated = converse(evaluating, body, holdout.paths)
    assert evaluated.ending is Ending.FINISHED
    assert [header["m"] for header, _ in evaluated.frames] == ["rehearsed", "need", "result"]
    _, statement = read_evaluation(evaluated.artifact or b"", _design(evaluating))
    assert abs(float(statement["accuracy"]["value"]) - accuracy) < 0.05
    assert float(statement["accuracy"]["low"]) <= accuracy <= float(statement["accuracy"]["high"])


@pytest.mark.parametrize(
    ("unit", "choice"),
    [
        (jobs.PATIENT, {}),
        (jobs.RECORD, {"recipe": {"engine": "opacus"}}),
        (jobs.RECORD, {"recipe": {"clipping": "adaptive"}}),
        (
            jobs.RECORD,
            {"label": "ward", "model": {"template": "mlp", "hidden": [5]}, "recipe": {"clipping": "per-layer"}},
        ),
    ],
    ids=["several-rows", "opacus", "adaptive", "per-layer"],
)
def test_every_engine_and_clipping_runs_confined(tmp_path: Path, unit: Any, choice: dict[str, Any]) -> None:
    """Whatever an engine loads or needs, it has in a confined child, and its self-test holds."""
    sealed = jobs.seal([jobs.people(160, rows_each=unit.rows_per_unit)], tmp_path / "rows")
    recipe = {"steps": 10, "sampling_rate": "0.3"} | choice.get("recipe", {})
    assignment = jobs.training(sealed, unit=unit, **(choice | {"recipe": recipe}))
    run = converse(assignment, keys_for(sealed, JOB_KEY), sealed.paths)
    assert run.ending is Ending.FINISHED
    header, _ = run.frames[-1]
    test = SelfTest.from_fields(header["self_test"])
    assert failed(judge(test, Claims.of(assignment.plan), assignment.plan.uses())) == ()


def test_a_run_starts_from_the_values_that_were_given(tmp_path: Path) -> None:
    """With a step that moves nothing, what leaves is what came in."""
    sealed = jobs.seal([_pictures(200)], tmp_path / "rows")
    model = {"graph": graphs.small_network(rule="given"), "initial": graphs.initial({"said.b": [3.0, -2.0, 0.5]})}
    still = {"steps": 1, "learning_rate": "0.000001", "momentum": "0", "averaging": "none"}
    assignment = jobs.training(sealed, schema=graphs.PICTURES, label="kind", model=model, recipe=still)
    run = converse_here(assignment, keys_for(sealed, JOB_KEY))
    weights = _weights(assignment, run.artifact)
    np.testing.assert_allclose(weights["said.b"], [3.0, -2.0, 0.5], atol=1e-3)
    np.testing.assert_allclose(weights["even.w"], np.ones(64), atol=1e-3)
    assert 0 < np.abs(weights["said.w"]).max() <= 0.21


def _pictures(count: int) -> pa.Table:
    rows = graphs.pictures(count)
    pixels = [[float(pixel) for pixel in row["picture"]] for row in rows]
    return pa.table({"picture": pa.array(pixels, pa.list_(pa.float64())), "kind": [row["kind"] for row in rows]})


def test_the_frames_are_those_of_the_plan(sealed: jobs.Sealed) -> None:
    """Rehearsed, then a need and a savepoint for each chunk, then the result: whatever the rows are."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    seen = converse_here(assignment, keys_for(sealed, JOB_KEY))
    chunks = list(range(2, 21, 2))
    expected: list[dict[str, Any]] = [{"m": "rehearsed"}]
    for upto in chunks[:-1]:
        expected += [{"m": "need", "upto": upto}, {"m": "savepoint", "step": upto}]
    figures = sorted(SelfTest.__dataclass_fields__)
    expected += [{"m": "need", "upto": 20}, {"m": "result", "steps": 20, "self_test": figures}]
    assert [header for header, _ in seen.forms] == expected


def _hostile_tables() -> dict[str, pa.Table]:
    rows = jobs.people(480)
    names = rows.column_names

    def with_column(name: str, values: pa.Array) -> pa.Table:
        return rows.set_column(names.index(name), name, values)

    return {
        "one more row": pa.concat_tables([rows, rows.slice(0, 1)]),
        "no row": rows.slice(0, 0),
        "one row": rows.slice(0, 1),
        "nine times the rows": pa.concat_tables([rows] * 9),
        "no age": with_column("age", pa.nulls(480, pa.float64())),
        "not a number": with_column("age", pa.array([np.nan, np.inf] * 240, pa.float64())),
        "far outside": with_column("dose", pa.array([1e308, -1e308] * 240, pa.float64())),
        "denormal": with_column("dose", pa.array([5e-324] * 480, pa.float64())),
        "unlisted": with_column("ward", pa.array(["z"] * 480, pa.string())),
        "no patient": with_column("patient", pa.nulls(480, pa.string())),
        "one patient": with_column("patient", pa.array(["p"] * 480, pa.string())),
    }


HOSTILE = _hostile_tables()


@pytest.mark.parametrize("unit", [jobs.RECORD, jobs.PATIENT], ids=["record", "patient"])
def test_what_leaves_has_one_form_whatever_the_rows_are(tmp_path: Path, unit: Any) -> None:
    """Frames, lengths and the ending are the same for every table: their number and values show nowhere (RULES 11)."""
    seen = {}
    for name, table in HOSTILE.items():
        sealed = jobs.seal([table], tmp_path / name.replace(" ", "-"))
        assignment = jobs.training(sealed, unit=unit, recipe=FEW_STEPS)
        run = converse_here(assignment, keys_for(sealed, JOB_KEY))
        weights = _weights(assignment, run.artifact)
        assert all(np.isfinite(value).all() for value in weights.values()), name
        seen[name] = (json.dumps(run.forms), run.ending)
    assert len(set(seen.values())) == 1, seen


@pytest.mark.parametrize("name", HOSTILE)
def test_an_evaluation_has_one_form_whatever_the_rows_are(sealed: jobs.Sealed, tmp_path: Path, name: str) -> None:
    """Whatever the holdout holds, noisy counts of every cell leave, and the same frames.

    Their lengths are fixed but for the result's, whose every byte follows from the noisy counts in it.
    """
    trained = jobs.training(sealed, recipe=FEW_STEPS)
    weights = {weight.name: np.ones(weight.shape, np.float32) for weight in trained.graph.weights}
    holdout = jobs.seal([HOSTILE[name]], tmp_path / "holdout", Split.HOLDOUT)
    assignment = jobs.evaluation(holdout, trained, confusion=True, subgroups=["ward", "smoker"])
    run = converse_here(assignment, holdout.key.reveal() + pack_weights(trained.graph, weights))
    assert [header for header, _ in run.frames] == [
        {"m": "rehearsed"},
        {"m": "need", "upto": 1},
        {"m": "result", "steps": 1},
    ]
    assert [length for _, length in run.frames] == [0, 0, len(run.artifact or b"")]
    design = _design(assignment)
    _, statement = read_evaluation(run.artifact or b"", design)
    numbers = [one["numbers"] for one in statement["measured"]]
    assert [len(own) for own in numbers] == [measure.cells for measure in assignment.plan.measures]
    assert evaluation_bytes(design, numbers) == run.artifact


def test_a_killed_run_resumes_from_its_savepoint(sealed: jobs.Sealed) -> None:
    """The second attempt starts after the savepoint, announces only what is left, and ends like any run."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    first = converse(assignment, keys_for(sealed, JOB_KEY), sealed.paths, lambda upto: KILL if upto > 8 else GO)
    assert (first.artifact, first.ending, sorted(first.savepoints)) == (None, Ending.STOPPED, [2, 4, 6, 8])
    resumed = dataclasses.replace(assignment, savepoint=8, attempt=2, started=10)
    second = converse(resumed, keys_for(sealed, JOB_KEY, first.savepoints[8]), sealed.paths)
    assert second.started == [10, 12, 14, 16, 18, 20]
    assert second.ending is Ending.FINISHED
    assert _weights(assignment, second.artifact)


def test_a_rehearsal_that_fails_tells_its_check_and_nothing_else(
    sealed: jobs.Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame, then the end: no key is asked for."""

    def failing(*_: Any) -> None:
        raise RehearsalError("rows are mixed")

    monkeypatch.setattr(training_runner, "rehearse", failing)
    seen = converse_here(jobs.training(sealed, recipe=FEW_STEPS), keys_for(sealed, JOB_KEY))
    assert seen.frames == [({"m": "unrehearsed", "check": "rows-apart"}, 0)]
    assert seen.ending is Ending.REFUSED


def test_every_attempt_draws_fresh_noise_and_samples(sealed: jobs.Sealed) -> None:
    """Two attempts from one savepoint part at the first step: no random state is stored or restored.

    Two of eight weights may lie close by chance; three do so more rarely than once in 10^7 runs.
    """
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    first = converse_here(assignment, keys_for(sealed, JOB_KEY), lambda upto: STOP if upto > 4 else GO)
    resumed = dataclasses.replace(assignment, savepoint=2, attempt=2, started=6)
    again = [
        converse_here(
            resumed,
            keys_for(sealed, JOB_KEY, first.savepoints[2]),
            lambda upto: STOP if upto > 4 else GO,
        )
        for _ in range(2)
    ]
    size = assignment.graph.weight_elements
    with SecretBytes(JOB_KEY) as key:
        states = [
            open_state(run.savepoints[4], assignment.plan, 4, size, key, assignment.tenant, assignment.job)
            for run in (first, *again)
        ]
    for one, two in itertools.pairwise(states):
        assert np.isclose(one.weights, two.weights, rtol=1e-6).sum() < 3


@pytest.mark.parametrize("at", [2, 20])
def test_a_cancelled_run_releases_nothing(sealed: jobs.Sealed, at: int) -> None:
    """After `stop` no result follows, not even of what ran before."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    run = converse_here(assignment, keys_for(sealed, JOB_KEY), lambda upto: STOP if upto >= at else GO)
    assert run.artifact is None
    assert run.ending is Ending.FINISHED
    assert run.started[-1] == at


def _refused(assignment: TrainingAssignment | EvaluationAssignment, body: bytes) -> list[str]:
    run = converse_here(assignment, body)
    assert (run.artifact, run.ending) == (None, Ending.REFUSED)
    return [header["m"] for header, _ in run.frames]


def test_a_savepoint_of_another_job_step_plan_or_key_ends_the_attempt(sealed: jobs.Sealed) -> None:
    """It does not open, and nothing is started."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    first = converse_here(assignment, keys_for(sealed, JOB_KEY), lambda upto: STOP if upto > 4 else GO)
    saved = first.savepoints[4]
    other_job = jobs.training(sealed, recipe=FEW_STEPS).job
    later = dataclasses.replace(assignment, savepoint=4, attempt=2, started=6)
    for attempt, body in (
        (dataclasses.replace(later, savepoint=4, job=other_job), keys_for(sealed, JOB_KEY, saved)),
        (dataclasses.replace(later, savepoint=2), keys_for(sealed, JOB_KEY, saved)),
        (dataclasses.replace(later, savepoint=4), keys_for(sealed, os.urandom(32), saved)),
        (dataclasses.replace(later, savepoint=4), keys_for(sealed, JOB_KEY, saved[:-1] + b"\x00")),
        (dataclasses.replace(later, savepoint=4), keys_for(sealed, JOB_KEY)),
        (dataclasses.replace(later, attempt=1), keys_for(sealed, JOB_KEY, saved)),
    ):
        assert _refused(attempt, body) == ["rehearsed"]


def test_a_part_that_was_changed_ends_the_attempt_without_a_step(sealed: jobs.Sealed, tmp_path: Path) -> None:
    """Ciphertext that does not open, or stands in another's place, is found before anything is started."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    data = bytearray(sealed.paths[0].read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / "part"
    broken.write_bytes(data)
    for path, aad in ((broken, sealed.parts[0].aad), (sealed.paths[0], sealed.parts[1].aad)):
        part = dataclasses.replace(sealed.parts[0], path=str(path), aad=aad)
        table = dataclasses.replace(assignment.table, parts=(part,))
        changed = dataclasses.replace(assignment, table=table)
        assert _refused(changed, keys_for(sealed, JOB_KEY)) == ["rehearsed"]


def test_an_assignment_that_does_not_hold_together_is_refused_before_a_key(sealed: jobs.Sealed) -> None:
    """A graph or features of another plan: the child ends before it says `rehearsed`."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    body = assignment.to_json()
    for name in ("graph", "features"):
        body["plan"] = assignment.plan.to_fields() | {name: str(Digest.of(b"other"))}
        lying = _Raw(canonical.encode(body))
        assert _refused(lying, b"") == []  # type: ignore[arg-type]


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def to_json(self) -> dict[str, Any]:
        return {"role": "train"}

    def to_bytes(self) -> bytes:
        return self._data


def test_a_savepoint_holds_noisy_state_only(sealed: jobs.Sealed) -> None:
    """Three vectors, a plan and a step; encrypted for the parent, of one length at every step."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    run = converse_here(assignment, keys_for(sealed, JOB_KEY))
    assert len({len(data) for data in run.savepoints.values()}) == 1
    with SecretBytes(JOB_KEY) as key:
        state = open_state(
            run.savepoints[6],
            assignment.plan,
            6,
            assignment.graph.weight_elements,
            key,
            assignment.tenant,
            assignment.job,
        )
    assert state.step == 6
    assert np.isfinite(state.weights).all()


def test_the_artifact_holds_weights_and_the_graphs_digest_only(sealed: jobs.Sealed) -> None:
    """No count, time, loss or optimiser state stands in what is released."""
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    run = converse_here(assignment, keys_for(sealed, JOB_KEY))
    named = NamedArrays.from_bytes(run.artifact or b"")
    assert set(named.texts) == {"format", "graph"}
    assert set(named.arrays) == {weight.name for weight in assignment.graph.weights}


def test_both_runners_flush_denormals_where_they_compute(
    sealed: jobs.Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that touches rows, a product too small for a normal number is 0: no row makes a step slow."""
    products = []

    def watch(module: Any, name: str) -> None:
        real = getattr(module, name)

        def watched(*arguments: Any) -> Any:
            products.append((np.array([1e-200] * 9) * 1e-120).max())
            return real(*arguments)

        monkeypatch.setattr(module, name, watched)

    watch(training_runner, "run_plan")
    watch(evaluation_runner, "count_rows")
    assignment = jobs.training(sealed, recipe=FEW_STEPS)
    trained = converse_here(assignment, keys_for(sealed, JOB_KEY))
    holdout = jobs.seal([jobs.people(20)], tmp_path / "holdout", Split.HOLDOUT)
    converse_here(jobs.evaluation(holdout, assignment), holdout.key.reveal() + (trained.artifact or b""))
    assert products == [0.0, 0.0]
    assert (np.array([1e-200] * 9) * 1e-120).max() > 0


def test_a_larger_model_trains_in_the_confinement(sealed: jobs.Sealed) -> None:
    """Large enough for several blocks of noise in a step: it ends as any other does."""
    model = {"template": "mlp", "hidden": [200, 160]}
    assignment = jobs.training(sealed, model=model, recipe={"steps": 6, "sampling_rate": "0.2"})
    assert assignment.graph.weight_elements > 2 * PAIRS
    run = converse(assignment, keys_for(sealed, JOB_KEY), sealed.paths)
    assert run.ending is Ending.FINISHED
    assert all(np.isfinite(value).all() for value in _weights(assignment, run.artifact).values())
