"""Tuning: the best of a hidden number of tries, at the smaller of two prices, and nothing of the others."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from kernel.amounts import Epsilon, Share
from kernel.errors import InvalidError, TooLargeError
from kernel.events import Parameter
from kernel.ids import JobId
from privacy.accounting.mechanisms import Gaussian, PoissonSampledGaussian, PrivateSelection
from privacy.accounting.price import price
from privacy.accounting.rdp import job_epsilon
from privacy.accounting.tries import Tries
from privacy.budget.reservations import Block
from privacy.evaluation.discrete_gaussian import ExactSource
from privacy.graph.weights import unpack_weights
from privacy.jobs.assignment import Table, TuningAssignment
from privacy.jobs.facts import DeclaredFacts
from privacy.jobs.labels import Target
from privacy.jobs.plan import TuningPlan, plan_tuning
from privacy.jobs.search import MOST_VALUES, Search
from privacy.jobs.spec import TuningSpec, complete_tuning, read_spec
from privacy.sandbox.endings import Ending
from privacy.selftest.claims import Claims
from privacy.selftest.report import SelfTest, failed, judge, require_whole
from privacy.training.rows import RowEncoder
from privacy.tuning import runner, selecting
from privacy.tuning.scoring import right_predictions
from tests.support import jobs
from tests.support.jobs import SCHEMA, Sealed, Transcript, facts

SEARCH = {"learning_rate": ["0.01", "1"], "clip": ["0.5", "1"]}
SMALL = {"most": 3, "shape": "1", "gamma": "0.5"}


def request(**changes: Any) -> dict[str, Any]:
    """What a trainer writes."""
    return jobs.request(**({"kind": "tuning", "tries": SMALL, "search": SEARCH, "recipe": {"steps": 20}} | changes))


def spec(declared: DeclaredFacts | None = None, **changes: Any) -> TuningSpec:
    """A request in its final form."""
    return complete_tuning(request(**changes), SCHEMA, declared or facts())


def plan(declared: DeclaredFacts | None = None, **changes: Any) -> TuningPlan:
    """A calibrated plan."""
    return plan_tuning(spec(declared, **changes), SCHEMA, declared or facts())


def tuning(trained: Sealed, scored: Sealed, **changes: Any) -> TuningAssignment:
    """An assignment on sealed parts of both blocks."""
    wanted = spec(**changes)
    return TuningAssignment(
        tenant=jobs.TENANT,
        job=JobId.new(os.urandom),
        plan=plan_tuning(wanted, SCHEMA, facts()),
        graph=wanted.model_graph(SCHEMA).graph,
        table=Table(features=wanted.features, schema=SCHEMA, unit=jobs.RECORD, parts=trained.parts),
        scored=scored.parts,
    )


def test_a_request_has_one_form_and_one_digest() -> None:
    """Defaults are filled in, ranges written out, and the final form reads as itself."""
    wanted = spec(search={"learning_rate": {"low": "0.1", "high": "10", "values": 5}}, tries={"most": 5})
    assert wanted.to_json()["search"] == {"learning_rate": ["0.1", "0.316", "1", "3.16", "10"]}
    assert wanted.tries.most == 5
    assert read_spec(wanted.to_json()) == wanted
    assert read_spec(wanted.to_json()).digest == wanted.digest
    assert spec(search=None).search.candidates == 5
    assert spec().score_epsilon == Epsilon.parse("0.75")
    home = spec(rows="home")
    assert read_spec(home.to_json()) == home
    assert home.digest != spec().digest


@pytest.mark.parametrize(
    "change",
    [
        {"search": {}},
        {"search": {"steps": ["10", "20"]}},
        {"search": {"sampling_rate": ["0.1"]}},
        {"search": {"clip": []}},
        {"search": {"clip": ["1", "1.0"]}},
        {"search": {"clip": ["0"]}},
        {"search": {"clip": [1]}},
        {"search": {"momentum": ["1.5"]}},
        {"search": {"clip": [str(n) for n in range(1, MOST_VALUES + 2)]}},
        {"search": {"clip": {"low": "0", "high": "1", "values": 3}}},
        {"search": {"clip": {"low": "1", "high": "1", "values": 3}}},
        {"tries": {"most": 0}},
        {"tries": {"most": 3, "seed": 1}},
        {"score_epsilon": "4"},
        {"score_epsilon": "0"},
        {"label": "age"},
        {"seed": "1"},
    ],
)
def test_what_would_change_the_price_or_is_unknown_is_refused(change: dict[str, Any]) -> None:
    """Only figures that cost nothing are searched; whatever is out of range is refused before anything is spent."""
    with pytest.raises(InvalidError):
        spec(**change)


def test_tries_that_are_too_much_work_are_refused_by_their_most() -> None:
    """All tries are run, so the work is that of the most there may be."""
    declared = facts(public_size=2_000_000)
    recipe = {"steps": 4000, "expected_batch": 100_000}
    jobs.plan(declared, recipe=recipe)
    with pytest.raises(TooLargeError):
        plan(declared, recipe=recipe, tries={"most": 100})


def test_nobody_held_out_is_a_refusal() -> None:
    """Scores come from people held out, never from those who train."""
    with pytest.raises(InvalidError):
        plan(facts(holdout_share=Share.parse("0")))


def test_each_block_pays_for_its_own_part_of_a_try() -> None:
    """Who trains pays for training alone and who scores for scoring alone; each keeps to what was asked for."""
    found = plan()
    trained, scored = found.holds()
    assert (trained.block, scored.block) == (Block.TRAIN, Block.HOLDOUT)
    assert isinstance(trained.mechanism, PrivateSelection)
    assert isinstance(trained.mechanism.base, PoissonSampledGaussian)
    assert isinstance(scored.mechanism, PrivateSelection)
    assert scored.mechanism.base == Gaussian(noise_multiplier=found.score_noise, count=1)
    assert trained.mechanism.times == scored.mechanism.times == 1 + found.retries
    for use, asked in zip(found.uses(), (found.epsilon, found.score_epsilon), strict=True):
        less = Epsilon(asked.value * 99 / 100)
        assert less < job_epsilon(use, delta=found.delta).epsilon <= asked
    assert found.training.epsilon < found.epsilon
    assert TuningPlan.from_fields(found.to_fields()) == found


def test_a_hidden_number_of_tries_buys_less_noise_than_as_many_jobs() -> None:
    """RULES 16: at the same epsilon a try has less noise than if all tries were told and paid for one by one."""
    found = plan(tries={"most": 16})
    (one,) = found.training.uses()
    told = one.repeated(one.times * 16)
    assert job_epsilon(told, delta=found.delta).epsilon.value > 2 * found.epsilon.value
    assert price(found.uses()[0], order=found.order) < price(told, order=found.order)


def test_candidates_differ_in_nothing_that_the_price_depends_on() -> None:
    """Every candidate of a search has the same mechanism use, which is the base of what is priced."""
    found = plan()
    recipes = set()
    for places in ((a, b) for a in range(2) for b in range(2)):
        candidate = found.candidate(places)
        assert candidate.uses() == (found.uses()[0].base,)  # type: ignore[attr-defined]
        assert Claims.of(candidate) == Claims.of(found.training)
        recipes.add((str(candidate.recipe.clip), str(candidate.recipe.learning_rate)))
    assert recipes == {(clip, rate) for clip in SEARCH["clip"] for rate in SEARCH["learning_rate"]}
    for places in ((0,), (0, 2), (0, -1), (0, True)):
        with pytest.raises(InvalidError):
            found.candidate(places)


class Dice(ExactSource):
    """Answers that a test chose, in place of draws."""

    def __init__(self, *answers: int) -> None:
        super().__init__()
        self._answers = list(answers)

    def below(self, bound: int) -> int:
        """The next answer."""
        answer = self._answers.pop(0) if self._answers else 0
        assert 0 <= answer < bound
        return answer


def test_the_number_is_drawn_as_it_is_priced() -> None:
    """Each of the equally likely draws gives a number, and together they give the declared weights."""
    tries = Tries.from_fields({"most": 4, "shape": "2", "gamma": "0.25"})
    total = sum(tries.weights)
    seen = Counter(selecting.drawn_number(tries, Dice(place)) for place in range(total))
    assert [seen[k] for k in range(1, 5)] == list(tries.weights)
    assert sum(k * Fraction(n, total) for k, n in seen.items()) == tries.mean


@pytest.mark.parametrize("drawn", [1, 2, 3])
def test_all_tries_are_run_and_only_those_that_count_are_compared(drawn: int) -> None:
    """The work does not tell the number; a later try that scores better is thrown away unseen."""
    tries, search = Tries.from_fields(SMALL), Search.from_json(SEARCH)
    first = sum(tries.weights[: drawn - 1])
    scores, asked = iter([5, 9, 20]), []

    def attempt(places: tuple[int, ...]) -> tuple[int, int]:
        asked.append(places)
        return next(scores), len(asked)

    best = selecting.select(tries, search, attempt, Dice(first))
    assert len(asked) == tries.most
    assert (best.score, best.result) == ([5, 9, 20][drawn - 1], drawn)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sealed, Sealed]:
    """People who train and people held out, under one key."""
    folder = tmp_path_factory.mktemp("tuning")
    trained = jobs.seal([jobs.people(480)], folder / "train")
    scored = jobs.seal([jobs.people(120, seed=8)], folder / "holdout", jobs.Split.HOLDOUT, trained.key)
    return trained, scored


@pytest.fixture(scope="module")
def seen(sealed: tuple[Sealed, Sealed]) -> tuple[TuningAssignment, Transcript]:
    """One tuning in a confined child."""
    trained, scored = sealed
    assignment = tuning(trained, scored, epsilon="20", score_epsilon="10", search={"learning_rate": ["0.000001", "1"]})
    return assignment, jobs.converse(assignment, trained.key.reveal(), [*trained.paths, *scored.paths])


def test_a_child_sends_the_best_try_and_nothing_else(seen: tuple[TuningAssignment, Transcript]) -> None:
    """One rehearsal, one announcement, one result: no progress, no score, no number of tries."""
    assignment, transcript = seen
    assert transcript.ending is Ending.FINISHED
    headers = [header for header, _ in transcript.frames]
    assert headers[:2] == [{"m": "rehearsed"}, {"m": "need", "upto": 1}]
    result = headers[2]
    assert len(headers) == 3
    assert set(result) == {"m", "steps", "candidate", "self_test"}
    assert assignment.plan.search.candidate(result["candidate"], assignment.plan.training.recipe)
    weights = unpack_weights(assignment.graph, transcript.artifact or b"")
    assert all(np.isfinite(value).all() for value in weights.values())
    one = assignment.plan.candidate(result["candidate"])
    self_test = require_whole(SelfTest.from_fields(result["self_test"]), one.recipe.steps)
    assert failed(judge(self_test, Claims.of(one), one.uses())) == ()


def test_the_assignment_reads_as_it_was_written(seen: tuple[TuningAssignment, Transcript]) -> None:
    """What the child reads is what the worker wrote; another plan's graph or target is refused."""
    assignment, _ = seen
    assert TuningAssignment.from_bytes(assignment.to_bytes()) == assignment
    with pytest.raises(InvalidError):
        dataclasses.replace(assignment, table=dataclasses.replace(assignment.table, unit=jobs.PATIENT))


def test_the_better_candidate_wins_where_it_is_tried(
    sealed: tuple[Sealed, Sealed], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model that never moves and one that learns, tried one after the other, the one that learns is released."""
    trained, scored = sealed
    assignment = tuning(
        trained, scored, epsilon="40", score_epsilon="20", tries=SMALL, search={"learning_rate": ["0.000001", "1"]}
    )
    candidates = iter([(0,), (1,), (0,)])
    monkeypatch.setattr(selecting, "drawn_number", lambda *_: 3)
    monkeypatch.setattr(selecting, "drawn_candidate", lambda *_: next(candidates))
    transcript = jobs.converse_here(assignment, trained.key.reveal())
    assert transcript.frames[-1][0]["candidate"] == [1]


@pytest.mark.parametrize("drawn", [1, 3])
def test_a_run_is_as_long_whatever_was_drawn(
    sealed: tuple[Sealed, Sealed], drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RULES 16: as many trainings and scorings are done if one try counts as if all do."""
    trained, scored = sealed
    done: list[str] = []
    for name in ("run_plan", "right_predictions"):
        kept = getattr(runner, name)
        monkeypatch.setattr(runner, name, lambda *a, _kept=kept, _name=name: done.append(_name) or _kept(*a))
    monkeypatch.setattr(selecting, "drawn_number", lambda *_: drawn)
    transcript = jobs.converse_here(tuning(trained, scored), trained.key.reveal())
    assert transcript.ending is Ending.FINISHED
    assert Counter(done) == {"run_plan": 3, "right_predictions": 3}


def test_a_row_counts_once_or_not_at_all() -> None:
    """A score is a count of rows: dead rows and scores that are not finite are in none, whatever they would be."""
    wanted = spec(model={"template": "logistic"})
    model = wanted.model_graph(SCHEMA)
    encoded = RowEncoder(wanted.features, SCHEMA).encode(jobs.people(50))
    weights = {w.name: np.zeros(w.shape, np.float32) for w in model.graph.weights}
    positive = int(encoded.targets.sum())
    # At log-odds of 0 everybody is predicted positive.
    assert right_predictions(model, weights, encoded, Target.BINARY) == positive
    dead = dataclasses.replace(encoded, alive=encoded.targets < 1)
    assert right_predictions(model, weights, dead, Target.BINARY) == 0
    broken = {name: np.full_like(value, np.nan) for name, value in weights.items()}
    assert right_predictions(model, broken, encoded, Target.BINARY) == 0


def test_a_count_gets_the_noise_that_is_paid_for(sealed: tuple[Sealed, Sealed]) -> None:
    """The deviation of a score's noise is the multiplier times the most rows of a unit."""
    found = plan(facts(rows_per_unit=3))
    deviation = runner.score_deviation(found)
    assert deviation == found.score_noise.number * 3
    assert Parameter(deviation).number > 0
    assert sealed


def test_stop_is_obeyed_before_a_row_is_read(sealed: tuple[Sealed, Sealed]) -> None:
    """A cancelled selection ends without a result."""
    trained, scored = sealed
    transcript = jobs.converse_here(tuning(trained, scored), trained.key.reveal(), lambda _: jobs.STOP)
    assert transcript.artifact is None
    assert transcript.ending is Ending.FINISHED
