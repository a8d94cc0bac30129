"""What the launcher takes from a tuning child: one of the plan's candidates, with that try's self-test."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.launchers.runs import TuningRun, require_weights
from kernel.errors import PrivgateError
from privacy.jobs.plan import TuningPlan, plan_tuning
from privacy.jobs.spec import complete_tuning
from privacy.selftest.report import Check
from tests.support import jobs
from tests.support.selftests import watched

SEARCH = {"clip": ["0.5", "1"], "learning_rate": ["0.1", "1", "10"]}


@pytest.fixture(scope="module")
def run() -> TuningRun:
    """A run whose assignment nobody reads."""
    request = jobs.request(kind="tuning", search=SEARCH, recipe={"steps": 20})
    spec = complete_tuning(request, jobs.SCHEMA, jobs.facts())
    plan: TuningPlan = plan_tuning(spec, jobs.SCHEMA, jobs.facts())
    return TuningRun(assignment=b"", plan=plan, graph=spec.model_graph(jobs.SCHEMA).graph)


def test_a_tuning_is_one_step(run: TuningRun) -> None:
    """However many tries there may be: progress cannot tell them."""
    assert (run.first, run.steps) == (0, 1)


def test_a_candidate_of_the_plan_is_taken(run: TuningRun) -> None:
    """A place for each figure that is searched, in the order of their names."""
    assert run.read_candidate([1, 2]) == (1, 2)


@pytest.mark.parametrize(
    "written",
    [None, [], [0], [0, 0, 0], [0, 3], [2, 0], [-1, 0], [0, 1.0], ["0", 0], [True, 0], "00", {"clip": 0}, 480],
)
def test_whatever_else_a_child_says_is_refused(run: TuningRun, written: Any) -> None:
    """A candidate that the plan does not have would be a way out for rows."""
    with pytest.raises(PrivgateError):
        run.read_candidate(written)


def test_the_released_trys_self_test_is_judged(run: TuningRun) -> None:
    """It belongs there, over all steps of one try, and a fault in it is found."""
    one = run.plan.training
    honest = run.read_self_test(watched(one).to_fields())
    assert run.failed_checks(honest) == ()
    with pytest.raises(PrivgateError):
        run.read_self_test(None)
    fields = watched(one).to_fields()
    with pytest.raises(PrivgateError):
        run.read_self_test(fields | {"steps": 19})
    loud = run.read_self_test(fields | {"squares": str(2 * float(fields["squares"]))})
    assert Check.NOISE_VARIANCE in run.failed_checks(loud)


def test_bytes_that_are_no_weights_of_this_graph_are_refused(run: TuningRun) -> None:
    """Rows in the place of weights do not leave."""
    with pytest.raises(PrivgateError):
        require_weights(run.graph, b"age,dose\n1,2\n")
